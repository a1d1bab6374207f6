"""Debian hosts on one machine for tests: each has systemd, an ssh server, a disk and a network of its own.

A :class:`~tests.labs.hosts.lab.Lab` boots them, as does ``python -m tests.labs.hosts``. It needs Linux, root, the packages that
``tools/prepare.sh hosts debian`` installs, and only the standard library of Python.
"""

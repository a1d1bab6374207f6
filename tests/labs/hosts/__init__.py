"""Hosts of Debian on one machine, for tests that want real ones: each has systemd, an ssh server, its own disk and network.

A :class:`~tests.labs.hosts.lab.Lab` boots them; ``python -m tests.labs.hosts`` does it by hand. It needs Linux, root and
the packages that ``tools/prepare.sh hosts`` installs, and nothing but Python's own library.
"""

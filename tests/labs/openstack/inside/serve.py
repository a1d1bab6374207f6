"""Serve one OpenStack API on 127.0.0.1 until a signal: ``serve.py MODULE PORT``."""

from __future__ import annotations

import importlib
import sys

THREADS = 8

if __name__ == "__main__":
    module, port = sys.argv[1:]
    sys.argv = [module]  # the services read their own command line
    rules = importlib.import_module("sqlite_rules")
    if module.startswith("keystone"):
        rules.enforce_foreign_keys()
    application = importlib.import_module(module).application
    waitress = importlib.import_module("waitress")
    waitress.serve(
        application,
        host="127.0.0.1",
        port=int(port),
        threads=THREADS,
        ident=None,
        clear_untrusted_proxy_headers=True,
    )

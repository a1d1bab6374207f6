"""The one socket of the page, taken before anything starts: a port in use is one clear line, not a crash later."""

from __future__ import annotations

import errno
import socket

from stargaze.errors import UsageError
from stargaze.serve.runtime.settings import ANY_ADDRESS


def listen(host: str, port: int) -> socket.socket:
    """Listen on ``host:port``; port 0 takes a free one. gunicorn goes on with the same socket."""
    if ":" in host:  # werkzeug's check of the Host header takes the first colon for the port's
        raise UsageError(f"serve.host: the page listens on IPv4, not on {host}", hint="stargaze serve --host 127.0.0.1")
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise UsageError(_why(host, port, error), hint=_instead(port, error)) from error


def url_of(listener: socket.socket) -> str:
    """Return what to type into the browser; an address that means "any" is reached by this machine's own."""
    host, port = listener.getsockname()[:2]
    if host in ANY_ADDRESS:
        host = "127.0.0.1"
    return f"http://{host}:{port}"


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} may not be taken by this user"
    if error.errno is not None and error.errno < 0:  # the resolver's own numbers
        return f"{host!r} is not an address"
    return f"cannot listen on {host}:{port}: {error.strerror or error}"


def _instead(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRNOTAVAIL or (error.errno is not None and error.errno < 0):
        return "stargaze serve --host 127.0.0.1"
    other = port + 1 if 1024 <= port < 65_535 else 8000
    return f"stargaze serve --port {other}, or --port 0 for a free one"

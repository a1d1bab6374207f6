"""The web server's socket, opened before anything starts, so that a port in use is one clear error."""

from __future__ import annotations

import errno
import socket

from stargaze.errors import UsageError
from stargaze.serve.runtime.settings import ANY_ADDRESS


def listen(host: str, port: int) -> socket.socket:
    """Listen on ``host:port``; port 0 takes a free one. gunicorn inherits the socket."""
    if ":" in host:  # werkzeug's check of the Host header takes the first colon as the port separator
        raise UsageError(
            f"serve.host: the server listens on IPv4, not on {host}", hint="stargaze serve --host 127.0.0.1"
        )
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise UsageError(_describe_error(host, port, error), hint=_hint(port, error)) from error


def url_of(listener: socket.socket) -> str:
    """Return the URL for a browser; for the address that means "any" it is the loopback address."""
    host, port = listener.getsockname()[:2]
    return f"http://{'127.0.0.1' if host in ANY_ADDRESS else host}:{port}"


def _describe_error(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"this user may not use port {port}"
    if error.errno is not None and error.errno < 0:  # an error of name resolution
        return f"{host!r} is not an address"
    return f"cannot listen on {host}:{port}: {error.strerror or error}"


def _hint(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRNOTAVAIL or (error.errno is not None and error.errno < 0):
        return "stargaze serve --host 127.0.0.1"
    other = port + 1 if 1024 <= port < 65_535 else 8000
    return f"stargaze serve --port {other}, or --port 0 for a free one"

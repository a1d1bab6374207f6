"""The web server's socket, opened before anything starts, so that a port in use is one clear error."""

from __future__ import annotations

import errno
import socket

from stargaze.errors import UsageError
from stargaze.serve.runtime.settings import ANY_ADDRESS

LOOPBACK_HINT = "stargaze serve --host 127.0.0.1"


def listen(host: str, port: int) -> socket.socket:
    """Listen on ``host:port``; port 0 takes a free one. gunicorn inherits the socket."""
    if ":" in host:  # werkzeug's check of the Host header takes the first colon as the port separator
        raise UsageError(f"serve.host: {host} is not an IPv4 address", hint=LOOPBACK_HINT)
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise _convert_error(host, port, error) from error


def url_of(listener: socket.socket) -> str:
    """Return the URL for a browser; for the address that means "any" it is the loopback address."""
    host, port = listener.getsockname()[:2]
    return f"http://{'127.0.0.1' if host in ANY_ADDRESS else host}:{port}"


def _convert_error(host: str, port: int, error: OSError) -> UsageError:
    number = error.errno or 0
    other = port + 1 if 1024 <= port < 65_535 else 8000
    hint = f"stargaze serve --port {other}, or --port 0 for a free one"
    if number == errno.EADDRINUSE:
        return UsageError(f"port {port} on {host} is in use", hint=hint)
    if number in (errno.EACCES, errno.EPERM):
        return UsageError(f"this user may not use port {port}", hint=hint)
    if number < 0:  # an error of name resolution
        return UsageError(f"{host!r} is not an address", hint=LOOPBACK_HINT)
    message = f"cannot listen on {host}:{port}: {error.strerror or error}"
    return UsageError(message, hint=LOOPBACK_HINT if number == errno.EADDRNOTAVAIL else hint)

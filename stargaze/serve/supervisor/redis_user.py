"""Create the next Redis user from a web container: ``python -m stargaze.serve.supervisor.redis_user``.

It reads ``{"user": …, "digest": …}`` from standard input; the current password never leaves the container.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

from redis import Redis
from redis.exceptions import RedisError

from stargaze.serve.runtime.settings import read_environment, results_url


def main(text: str, environ: Mapping[str, str]) -> int:
    """Create the user with the SHA-256 of its password; an error is printed to stderr as one line."""
    value = json.loads(text)
    section, _ = read_environment(environ)
    try:
        with Redis.from_url(results_url(section, environ), socket_timeout=5) as redis:
            redis.execute_command("ACL", "SETUSER", value["user"], "on", f"#{value['digest']}", "~*", "&*", "+@all")
    except RedisError as error:
        sys.stderr.write(f"Redis: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.stdin.read(), os.environ))

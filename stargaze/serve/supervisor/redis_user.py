"""In a page's container: tell Redis who comes after the present user.

``python -m stargaze.serve.supervisor.redis_user`` reads ``{"user": …, "digest": …}``; the present password stays where it is.
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
    """Make the user, with the SHA-256 of its password; what is wrong goes to stderr as one line."""
    asked = json.loads(text)
    section, _ = read_environment(environ)
    try:
        with Redis.from_url(results_url(section, environ), socket_timeout=5) as redis:
            redis.execute_command("ACL", "SETUSER", asked["user"], "on", f"#{asked['digest']}", "~*", "&*", "+@all")
    except RedisError as error:
        sys.stderr.write(f"Redis: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.stdin.read(), os.environ))

"""gunicorn that reads no config file and imports nothing from its working directory: ``python -P -m … OPTIONS APP``.

Its own program executes ``gunicorn.conf.py`` of the working directory and puts that folder first on Python's path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.util import import_app


class WebServer(BaseApplication):  # type: ignore[misc]
    """The application that the command line names, with the settings of the command line alone."""

    def load_config(self) -> None:
        """Take the settings from the command line."""
        arguments = vars(self.cfg.parser().parse_args())
        (self._application,) = arguments.pop("args")
        self.cfg.set("default_proc_name", self._application)
        for name, value in arguments.items():
            if value is not None:
                self.cfg.set(name, value)

    def load(self) -> Callable[..., Any]:
        """Return the WSGI application."""
        application: Callable[..., Any] = import_app(self._application)
        return application


if __name__ == "__main__":
    WebServer("%(prog)s [OPTIONS] APP").run()

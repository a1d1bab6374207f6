"""stargaze predicts how many stargazers a GitHub repository has earned or will earn."""

from __future__ import annotations

__version__ = "0.1.0"

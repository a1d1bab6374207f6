"""Releases as signed git commits: publish, quality gate, pre-receive checks, installation."""

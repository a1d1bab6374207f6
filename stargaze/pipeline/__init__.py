"""The stages in order and their state: run, status, doctor, post-commit hook."""

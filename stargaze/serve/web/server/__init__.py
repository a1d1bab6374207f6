"""The gunicorn worker class, with checks of requests."""

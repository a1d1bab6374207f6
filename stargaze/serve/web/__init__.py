"""The Flask application: pages, REST API, exports, rate limit."""

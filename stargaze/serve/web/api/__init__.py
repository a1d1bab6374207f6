"""The JSON API: routes, OpenAPI description, rate limit, client."""

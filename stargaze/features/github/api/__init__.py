"""The GitHub API client: transport, rate limit, retry, response cache, GraphQL."""

"""GitHub as a source of repositories: API client, search, crawl."""

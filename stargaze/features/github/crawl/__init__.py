"""The crawl: find repositories, fetch their details and star history, resume, write."""

"""GitHub search: queries, partition below the cap of 1,000 results, sampling."""

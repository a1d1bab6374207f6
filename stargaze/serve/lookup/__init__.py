"""Live lookups: repositories and star histories from GitHub, with a cache."""

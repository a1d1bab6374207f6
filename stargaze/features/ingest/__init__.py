"""Records from files: open, parse, map fields, validate, deduplicate, write repositories."""

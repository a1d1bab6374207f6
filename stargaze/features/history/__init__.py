"""Star histories: read, clean, join renamed repositories, window features."""

"""Models of each library: written in its format or converted to tables, and loaded without running code of the file."""

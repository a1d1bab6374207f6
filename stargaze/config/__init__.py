"""The configuration: typed sections, loading from file and environment, validation, rendering."""

"""Values of files as records: JSON documents and their wrappers, objects in cells, and columns of tables."""

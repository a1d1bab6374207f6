"""How the rows of the repositories were collected, and the check of columns that repeat the order of the collection."""

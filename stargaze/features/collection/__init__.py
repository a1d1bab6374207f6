"""How the repositories were chosen and their rows collected, and the check of columns that repeat the order of the collection."""

"""A simulated GitHub for load and mishaps, in simulated time; `tests/referee` holds it to GitHub's own descriptions."""

"""A simulated GitHub with rate limits and faults, in simulated time; `tests/referee` checks it against GitHub's descriptions."""

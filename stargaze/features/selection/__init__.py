"""Feature selection: filters, permutation importance, stability selection."""

"""The report: one HTML page about the data, the search and the bundle of a store."""

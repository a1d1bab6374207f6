"""The report: one HTML page with everything that a store knows of its data, its search and its bundle."""

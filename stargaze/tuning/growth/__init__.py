"""The growth target: forecasts of star counts, trained and evaluated on star histories."""

"""The pages around the results: landing page, search, comparison, model card."""

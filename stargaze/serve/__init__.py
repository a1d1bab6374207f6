"""From a bundle to answers: release, page, workers."""

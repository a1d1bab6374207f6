"""From a bundle to predictions: release, delivery to production, web server, queue, workers."""

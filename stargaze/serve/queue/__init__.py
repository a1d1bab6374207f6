"""The prediction queue: Celery application, worker, batching, result store, long polling."""

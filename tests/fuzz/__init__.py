"""A seeded fuzzer of bundle files: ``python -m tests.fuzz`` (``make fuzz``)."""

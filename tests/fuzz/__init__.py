"""A seeded fuzzer of bundle files and of all readers: ``python -m tests.fuzz`` (``make fuzz``)."""

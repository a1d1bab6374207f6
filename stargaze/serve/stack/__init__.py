"""The production stack as data: Compose services, secret versions."""

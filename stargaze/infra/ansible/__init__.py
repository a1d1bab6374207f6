"""Configuration of machines: playbooks with ansible-runner, and the wheel that they install."""

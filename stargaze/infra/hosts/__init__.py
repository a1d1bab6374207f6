"""Hosts by ssh: cloud-init, host keys, inventory, state directory."""

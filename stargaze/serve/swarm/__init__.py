"""Delivery to a Docker Swarm: deploy, verify, restore, scale, prune, drill."""

"""Machines: plan, create, configure and delete them."""

"""The OpenStack adapter: read, create, update and delete resources with openstacksdk."""

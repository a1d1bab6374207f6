"""The plan: desired resources compared with actual ones, and the steps between them."""

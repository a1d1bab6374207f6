"""What the pages show: texts, numbers and positions, computed from answers and bundles without Flask."""

"""From an empty project of a cloud to configured machines, and back to nothing."""

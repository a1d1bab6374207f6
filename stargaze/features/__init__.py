"""From GitHub records to features: read, check, extract, select, split."""

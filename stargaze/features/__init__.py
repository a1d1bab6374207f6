"""From GitHub records to features: fetch, validate, extract, encode, select, split."""

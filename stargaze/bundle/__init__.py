"""The model bundle: model formats, manifest, prediction intervals; `tune` writes it and serving reads it."""

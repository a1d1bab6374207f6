"""Encoders fitted on training data: target encoding, text models, out-of-fold columns."""

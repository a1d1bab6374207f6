"""From a feature set to a bundle: screen the model families, tune the finalists, calibrate, save."""

"""From a feature set to a bundle: screen the families, tune the finalists, calibrate, save."""

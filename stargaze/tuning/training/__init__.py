"""From the best trials to a bundle: ensemble, refit, calibration of prediction intervals, saving."""

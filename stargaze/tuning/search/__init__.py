"""The hyperparameter search: Optuna's sampler behind Ray Tune, racing across folds, the trial journal."""

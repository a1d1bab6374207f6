"""Predictions without Flask or Celery: answers, explanations, what-if, forecasts, track record."""

"""Shared by all serving processes: settings, hot reload, health check, metrics, request log."""

"""What every serving process uses: settings, hot reload, health check, metrics, request log."""

"""The routes of all HTML pages, files and pictures: they read requests, ask the queue, and render templates."""

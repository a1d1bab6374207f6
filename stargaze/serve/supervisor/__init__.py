"""Process supervision: start and restart the web server and the workers on one machine and in containers."""

"""The commands by subject: read the config, call one function, print the result."""

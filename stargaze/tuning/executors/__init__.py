"""Where model families run while they are screened: processes, Docker containers or Ray, behind one protocol."""

"""The executors of screening, which run model families: processes, Docker containers or Ray, behind one protocol."""

"""Where families run while they are screened: processes, containers or Ray, one file each behind one port."""

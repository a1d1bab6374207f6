"""Pipeline stages as jobs on the cluster: submit, follow, cancel, download results."""

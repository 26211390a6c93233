"""One report on the trials of several sweeps, storages and tables."""

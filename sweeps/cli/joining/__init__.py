"""The command `sweeps report` on several sweeps, folders of results and tables."""

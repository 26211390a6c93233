"""What `sweeps cancel`, `pause` and `resume` have in common."""

"""Batch scripts that run a sweep or a search as a job of SLURM."""

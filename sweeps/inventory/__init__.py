"""What a storage has: its sweeps and studies, their trials, and what may be removed."""

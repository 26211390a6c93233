"""Named sweeps, one a file: each defines ``SWEEP``."""

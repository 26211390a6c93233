"""Named sweeps, one per file: each file defines ``SWEEP``."""

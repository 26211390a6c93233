"""Ready-made studies; each file defines STUDY."""

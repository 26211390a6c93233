"""The studies that ship; each file defines STUDY."""

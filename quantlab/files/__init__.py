"""Files that processes share: how they are written."""

"""The archive: finished trials in an object storage, from which another storage can take them."""

"""What a sweep needs of the file system of its storage, on every machine that uses it."""

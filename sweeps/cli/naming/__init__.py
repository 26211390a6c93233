"""What a command line names: a file, one of a sweep and a study in it, or what a storage knows."""

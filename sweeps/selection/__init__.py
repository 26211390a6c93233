"""The choice of trials of a sweep on the command line: --only, --seeds and --set."""

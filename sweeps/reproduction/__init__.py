"""Train a finished trial again, and compare the results bit by bit."""

"""The checks and estimates that are made before any trial starts."""

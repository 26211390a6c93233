"""Settings of a recipe that have a file of their own, and changes of settings by their path."""

"""Which code a recipe can reach, and what of it counts for the identity of a trial."""

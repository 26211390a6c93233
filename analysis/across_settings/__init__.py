"""Methods over several tasks: aggregates of normalized scores, and ranks."""

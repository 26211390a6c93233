"""Searches: configurations that Optuna suggests, shared by all drivers of a study."""

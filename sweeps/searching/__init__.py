"""Searches: configurations that Optuna proposes, shared by all drivers of a study."""

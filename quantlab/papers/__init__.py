"""Settings of published experiments as recipes, one paper per file."""

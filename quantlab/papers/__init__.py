"""Settings of published experiments as recipes, one paper a file."""

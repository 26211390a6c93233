"""Training of one recipe by several processes, each on its own device."""

"""Where trials run: their resources, and which of them are trained together."""

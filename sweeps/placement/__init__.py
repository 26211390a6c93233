"""Where trials run: resources, and which of them are trained together."""

"""The way of examples from files to the device."""

"""The driver, which distributes trials to workers through Ray Tune until none is left."""

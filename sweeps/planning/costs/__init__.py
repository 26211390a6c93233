"""What trials cost: their work, how fast such work was done, and the time of all on a machine."""

"""What the knobs of methods do, alone and together, and whether they can be left untuned."""

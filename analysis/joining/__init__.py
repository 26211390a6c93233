"""Tables of trials from several places in one, and the choice of their rows by a condition."""

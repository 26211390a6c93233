"""What was spent on trials: the attempts to train them, and sums of these."""

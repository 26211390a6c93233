"""What tuning costs: results that are expected after few tries."""

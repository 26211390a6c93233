"""What commands print: their streams, secrets that are hidden in them, and numbers of things."""

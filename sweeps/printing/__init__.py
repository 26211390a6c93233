"""What commands print: their standard streams, and the secrets that are hidden in them."""

"""What is known before any trial starts: what it will cost, and what would make it fail."""

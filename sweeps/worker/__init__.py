"""What runs on the machine that trains: it knows folders, and nothing of the driver."""

"""Access to a tracking server: credentials, requests within its limits, and why it fails."""

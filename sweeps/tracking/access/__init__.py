"""Access to a tracking server: the credentials that are sent, and why it cannot be used."""

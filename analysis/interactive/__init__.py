"""What a reader can do on a report's page: look at values, choose methods, and follow trials."""

"""Text for the terminal: durations, curves, tables that fit its width, and links to a server."""

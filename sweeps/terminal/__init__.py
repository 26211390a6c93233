"""Text for the terminal: durations in readable units, and tables that fit its width."""

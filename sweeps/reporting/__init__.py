"""Tables and figures from trial folders, for the reports of `analysis`."""

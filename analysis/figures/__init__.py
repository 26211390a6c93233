"""Tables -> matplotlib figures; each takes the numbers it shows, and draws nothing else."""

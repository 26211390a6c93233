"""From trial folders to the tables and figures that `analysis` makes reports of."""

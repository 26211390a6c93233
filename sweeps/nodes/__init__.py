"""What every machine of a cluster must have in common with the driver, before it trains."""

"""Networks that a training keeps beside the one that it trains."""

"""Statistics of trials: aggregates over seeds, intervals, comparisons, sensitivity."""

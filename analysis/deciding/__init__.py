"""Seeds until decided: which questions of a sweep are answered, and which need more seeds."""

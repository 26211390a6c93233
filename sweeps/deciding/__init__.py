"""Seeds until decided: rounds of further trials for the open questions of a sweep."""

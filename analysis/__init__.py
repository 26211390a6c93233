"""From a table of trials to sensitivity tables, figures and a report: pandas in, files out."""

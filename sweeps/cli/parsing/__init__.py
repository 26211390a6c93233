"""The parser of command lines, with suggestions, completions and versions."""

"""Figures that compare methods over numbers of tries, and over tasks."""

"""Knobs: the axes of a sweep that one might leave untuned, and how tables of trials name them."""

"""Schedules that end at a low value, and the sums that they need."""

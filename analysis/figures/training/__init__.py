"""Figures of the course of training."""

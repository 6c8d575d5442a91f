"""Validation metrics with sum states."""

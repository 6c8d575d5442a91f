"""Data sets of several modalities, and what writes them."""

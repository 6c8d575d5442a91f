"""Base models: plain modules with their own preprocessing."""

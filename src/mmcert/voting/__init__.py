"""The certification loop: random sub-samples through a base model, counted as integer votes."""

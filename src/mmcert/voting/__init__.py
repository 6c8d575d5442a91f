"""The certification loop: draws in, integer vote counts out."""

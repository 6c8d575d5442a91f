"""Emotional speech: RAVDESS and sets in its format, from raw files to elements."""

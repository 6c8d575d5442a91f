"""One thin entry point per command."""

"""The mathematics of the certificates: pure functions, frozen dataclasses, exact arithmetic."""

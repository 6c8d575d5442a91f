"""The figures of the report, one idea per file. Matplotlib's object interface, no global state."""

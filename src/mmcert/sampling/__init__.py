"""Exact k-of-n subsets from counter-based streams, and encodings of a sub-sample."""

"""Provable robustness of multi-modal models, by votes over random sub-samples."""

__version__ = "0.1.0"

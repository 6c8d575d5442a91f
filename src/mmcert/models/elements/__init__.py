"""Encoders of single elements, by which element-wise models see frames, chunks and pixels."""

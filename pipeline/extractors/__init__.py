"""Extractors that make features: one file or folder each, the module path is the name."""

"""Stages that prepare samples: one file each, the module path is the name."""

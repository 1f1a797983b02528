"""Rows of a table, taken by number into a batch."""

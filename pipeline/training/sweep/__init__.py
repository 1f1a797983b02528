"""Searching settings on the validation split: which trials, running them, comparing them."""

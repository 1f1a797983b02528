"""The test split, intervals, tables, predictions."""

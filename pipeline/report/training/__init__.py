"""The page of a training run: curves, scores, attention, graphs, provenance."""

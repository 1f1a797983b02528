"""What several models share: masks, attention on packed or padded sequences, graphs, heads."""

"""Vision networks, and the layouts of their published checkpoints."""

"""Vision networks that features are made with, and the layouts of their published checkpoints."""

"""The parts of MM-ORIENT: attention within modalities, graphs across them, configuration."""

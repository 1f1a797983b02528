"""x."""
CHECKPOINT_WRAPPERS = ("state_dict", "model", "G")

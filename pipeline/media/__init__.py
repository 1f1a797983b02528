"""Reading media: paths confined to a root, images decoded by one policy."""

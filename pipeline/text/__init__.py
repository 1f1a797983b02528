"""Text of captions: named, versioned cleaning rules."""

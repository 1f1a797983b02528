"""Painting over text: masks from quads, one file per way to fill them, exact compositing."""

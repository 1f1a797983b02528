"""Finding text in pictures: one file per detector, quads in original pixels, geometry of quads."""

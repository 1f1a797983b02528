"""From cached features to fair numbers; see README.md."""

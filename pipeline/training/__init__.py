"""From cached features to trained models: data, loader, trainer, metrics; see README.md."""

"""affectflow: from raw multimodal data to audited features and fairly evaluated models."""

__version__ = "0.1.0"

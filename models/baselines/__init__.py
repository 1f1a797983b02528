"""The plain models that every other model has to beat."""

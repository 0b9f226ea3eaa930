"""The resolved configuration of a run, and how it comes about."""

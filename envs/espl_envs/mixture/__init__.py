"""Mixtures of other environments."""

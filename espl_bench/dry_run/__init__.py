"""Estimate a run's work and cost before it starts."""

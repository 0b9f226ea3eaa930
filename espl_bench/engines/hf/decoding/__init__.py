"""Sampling: a batch of rows, their caches, and one step after the other."""

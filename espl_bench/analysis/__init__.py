"""Analyses of finished runs: attribution, verification, contamination, histories of ratings and prompts."""

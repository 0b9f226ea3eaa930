"""Measures of finished runs beyond their score: how far the weights moved, what the prompt is worth, what is learned next and forgotten."""

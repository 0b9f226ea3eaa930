"""A training step: micro-batches laid out, read, and their gradients added up."""

"""A policy behind the chat API that agents speak: requests become sampling, and sampling becomes rollouts."""

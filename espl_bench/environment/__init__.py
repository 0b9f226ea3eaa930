"""The contract of an environment, and checks for it."""

"""The contract of an environment, and the checks that come with it."""

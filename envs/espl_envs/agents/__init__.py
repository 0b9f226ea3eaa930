"""Single-turn environments whose episodes are played by a program of yours."""

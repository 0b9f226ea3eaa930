"""The rulebook family: chains of digits under operators whose meanings are hidden."""

"""What a run would do and cost, worked out before it starts."""

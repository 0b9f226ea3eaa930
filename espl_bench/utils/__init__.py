"""Small helpers, independent of the method."""

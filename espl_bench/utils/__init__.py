"""Small helpers without knowledge of the method."""

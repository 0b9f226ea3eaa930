"""What a run leaves on disk: writing it, reading it, and where it came from."""

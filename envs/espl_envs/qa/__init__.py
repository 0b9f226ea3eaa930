"""Questions with short answers in free text, from one's own files."""

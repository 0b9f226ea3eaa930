"""What a run tells: rows of its logs, the reporter's words, experiment trackers."""

"""Output of a running run: log rows, reports to its watcher, experiment trackers."""

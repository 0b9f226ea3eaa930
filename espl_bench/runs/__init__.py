"""Files of a run on disk: writing them, reading them, and their provenance."""

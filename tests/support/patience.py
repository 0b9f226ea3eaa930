"""How long a test waits for another process before it calls it hung. On any machine, under any load, what is not hung is quicker."""

PATIENCE_S = 1_200.0

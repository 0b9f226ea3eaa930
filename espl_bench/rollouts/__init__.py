"""Episodes: running them, scheduling their requests, grading and evaluating."""

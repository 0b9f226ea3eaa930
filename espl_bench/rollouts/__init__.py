"""Episodes: playing them, scheduling their requests, grading and evaluating."""

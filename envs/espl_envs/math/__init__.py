"""Competition mathematics: one implementation, and a row of choices for each pair of training and test sets."""

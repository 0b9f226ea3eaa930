"""`arithmetic-words`: word problems of a market whose measures nobody states."""

"""Questions whose answers are to be searched for: one implementation, and a row of choices for each selection of questions."""

"""Questions to answer by searching: one implementation, and a row of choices for each selection of questions."""

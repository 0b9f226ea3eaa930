"""The words: a population of system prompts, their ratings, selection and the operators that write children."""

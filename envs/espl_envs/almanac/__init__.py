"""The almanac family: questions to look up in a corpus of reliable and unreliable sources with rules of its own for queries."""

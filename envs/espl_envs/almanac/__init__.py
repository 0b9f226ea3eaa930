"""The almanac family: questions to look up in a corpus of reliable and unreliable sources that has its own query vocabulary."""

"""Data sets that an environment does not carry with it: fetched or imported once, kept in a data home, checked before use.

The layer knows descriptions (`spec.py`) and no environment. What belongs to a data set, its columns, its licence, its
oddities, stands in the description that an environment's spec brings along.
"""

"""Data sets that an environment does not carry with it: fetched or imported once, kept in a data home, checked before use.

The layer works on descriptions (`dataset_spec.py`) and does not know environments. Everything about a data set, its columns,
licence and oddities, is in the description of an environment's spec.
"""

"""Retrieval for environments that search: one small protocol, several back ends, and a record of what was retrieved."""

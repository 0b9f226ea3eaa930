"""A trainer over several devices: a process for each, which holds a part of the base and all of the adapter."""

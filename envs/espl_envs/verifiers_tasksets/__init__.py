"""Tasksets of the package verifiers 0.4, of one turn or with tools that run in this process."""

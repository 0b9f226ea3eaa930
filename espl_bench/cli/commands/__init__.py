"""Implementations of the commands. `cli/declare` declares them and imports one of these modules when its command runs."""

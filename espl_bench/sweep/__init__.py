"""Grids of runs on one machine or on many: reading a grid, storing its runs, and running its cells."""

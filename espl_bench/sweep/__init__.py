"""Grids of runs on one machine or on many: what a grid says, where its runs lie, and who carries them out."""

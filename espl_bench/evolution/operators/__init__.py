"""Operators write new system prompts from rollouts: mutation and crossover, and the typed edits they speak in."""

"""Operators that write new system prompts from rollouts: mutation and crossover, and the typed edits they exchange with the editor."""

"""The generated puzzles of the package reasoning-gym, as environments `reasoning-gym:SET`."""

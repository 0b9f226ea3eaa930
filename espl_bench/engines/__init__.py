"""Engines turn tokens into tokens and advantages into new weights. Import the one you need; heavy packages load there."""

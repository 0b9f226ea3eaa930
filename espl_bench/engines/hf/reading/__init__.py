"""How a model reads many token sequences at once: equal beginnings once, and attention that leaves out what a row must not see."""

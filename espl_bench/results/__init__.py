"""Published results: adding.py checks and adds runs, generated.py makes tables from all of them, attributions.py adds attributions."""

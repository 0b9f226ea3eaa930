"""Turn many runs' summaries into tables: collect.py finds them, table.py computes, render.py formats."""

"""From many runs' summaries to tables: collect.py finds them, table.py computes, render.py shows."""

"""Show a set of runs as one page to explore.

payload.py collects the page's data, page.py assembles the page, build.py writes it to a file, live_server.py serves it.
"""

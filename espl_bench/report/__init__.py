"""A set of runs as one page to look around in.

gather.py reads the runs, payload.py says what the page is told, page.py puts it together, build.py and server.py hand it over.
"""

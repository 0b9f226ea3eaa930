"""Published results: record.py is one run as published, adding.py what may become one, generated.py what is made from all of them."""

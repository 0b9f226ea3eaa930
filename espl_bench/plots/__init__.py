"""Pictures for papers and slides, one kind a file. matplotlib is imported when the first is drawn."""

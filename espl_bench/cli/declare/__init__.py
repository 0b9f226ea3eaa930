"""Commands as Typer sees them: names, options and help; each calls its namesake in `cli/commands`."""

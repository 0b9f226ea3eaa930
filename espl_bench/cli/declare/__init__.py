"""Command declarations: names, options and help. Each calls its namesake in `cli/commands`."""

"""What each command does. cli.py declares the command line and imports one of these modules when its command runs."""

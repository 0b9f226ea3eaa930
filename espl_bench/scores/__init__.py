"""Scores from anywhere: tables and logs of other tools, compared with our statistics and written in formats of others."""

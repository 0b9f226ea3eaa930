"""Environments of several turns in which the policy calls tools: reading, limiting, answering and sanitizing calls."""

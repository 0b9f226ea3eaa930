"""Spending of a run: tokens and seconds in a ledger, dollars under a budget, and paid responses cached for a resume."""

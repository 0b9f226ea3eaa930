"""What a run spends: tokens and seconds in a ledger, dollars under a budget, paid answers kept for a resume."""

"""Environments of many turns in which the policy calls tools: how calls are read, limited, answered and made harmless."""

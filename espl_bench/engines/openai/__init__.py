"""Engine openai: sampling at an OpenAI-compatible endpoint."""

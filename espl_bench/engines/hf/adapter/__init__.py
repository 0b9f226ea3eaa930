"""The LoRA adapter: which weights it reaches, how it shares a base with the reference, and its files."""

"""How a model is addressed: templates, forms of a prompt, the root prompt."""

"""How it improves: an agent that edits prompts and earns its commits."""

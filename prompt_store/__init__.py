"""What they are told: prompts as Markdown, versioned by git."""

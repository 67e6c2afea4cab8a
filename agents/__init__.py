"""Who: one module per role, and the one place where models are called."""

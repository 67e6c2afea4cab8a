"""In what order: the state machine."""

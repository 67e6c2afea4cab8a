"""The board: what happened, to be read in a browser."""

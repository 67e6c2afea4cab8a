"""Reports to read in a browser: one file, nothing loaded from elsewhere."""

"""The door: commands parse, call and print."""

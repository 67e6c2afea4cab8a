"""What we make: pure values and decisions."""

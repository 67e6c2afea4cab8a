"""What went in, happened and came out."""

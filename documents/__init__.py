"""What goes in: files of many formats, read into documents."""

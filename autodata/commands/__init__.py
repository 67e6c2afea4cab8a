"""What the commands do; their options and help stand in `autodata/cli.py`."""

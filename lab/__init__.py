"""The lab: students of some ten thousand parameters, trained on what the loop makes."""

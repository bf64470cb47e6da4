"""Question sets written in the form that other programs read."""

"""Question sets that others have published, read as they are: rows in the format of the trainer verl."""

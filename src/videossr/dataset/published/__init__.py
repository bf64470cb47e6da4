"""Question sets that others have published, in the row format of the trainer verl."""

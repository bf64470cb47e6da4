"""Check that a dataset holds what it claims, with none of the code that gated it."""

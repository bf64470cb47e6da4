"""The formats in which rows are published: one small reader for each."""

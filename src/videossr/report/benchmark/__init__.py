"""The page and the tables of benchmark runs."""

"""The page and the tables of training runs."""

"""HTML pages, plots and tables for people."""

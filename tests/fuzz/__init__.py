"""Damaged and hostile inputs for every reader. `python -m tests.fuzz rows --seconds 600` tries one for ten minutes."""

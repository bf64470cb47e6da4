"""Local and remote files, written whole or not at all."""

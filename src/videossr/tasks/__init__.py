"""The pretext tasks."""

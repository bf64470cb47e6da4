"""Run checkpoints with torch: load them, share the prompt of a group, and generate answers."""

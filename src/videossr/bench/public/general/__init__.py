"""General video understanding: short clips, mostly multiple choice."""

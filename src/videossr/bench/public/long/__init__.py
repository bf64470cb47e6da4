"""Long videos: minutes to hours, multiple choice."""

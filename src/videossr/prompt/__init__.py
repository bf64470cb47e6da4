"""What a model family reads: its markers of time, its tokens, its layout."""

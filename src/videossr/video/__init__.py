"""Decoding: the frames of a video, and the exact times at which they are shown."""

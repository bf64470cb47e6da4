"""From a folder of video files to a corpus of exactly timed frames."""

"""Which frames of a video are shown, at exactly which times."""

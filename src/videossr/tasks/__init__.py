"""The pretext tasks: their contract in `base`, and anomaly grounding, object counting and temporal jigsaw."""

"""Map work over the processes of this machine or over a Ray cluster."""

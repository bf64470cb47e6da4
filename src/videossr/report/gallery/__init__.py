"""The gallery of samples, and the quiz for people."""

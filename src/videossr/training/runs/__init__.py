"""A training run on disk: its records, their writer, how a run resumes, and who watches it."""

"""Benchmarks: run a model on questions, score what it said, compare runs."""

"""Runs of public benchmarks in the paper's tables: as a page, and as text for other programs."""

"""Estimate and measure what training costs: memory, operations, time."""

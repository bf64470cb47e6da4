"""Perturbations of anomaly grounding in a package of their own."""

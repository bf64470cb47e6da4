"""Reasoning over videos: lectures, orders, several videos."""

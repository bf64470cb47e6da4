"""Exports of question sets in the formats of other programs."""

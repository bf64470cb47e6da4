"""Temporal grounding: when does what a sentence says happen?"""

"""Searches for the most probable output of a model that tells one symbol after the other."""

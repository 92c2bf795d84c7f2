"""Functions of a trained system and data."""

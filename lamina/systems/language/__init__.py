"""Systems of text."""

"""Systems of sequences."""

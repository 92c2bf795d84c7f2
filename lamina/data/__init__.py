"""Examples, batches, and where data comes from."""

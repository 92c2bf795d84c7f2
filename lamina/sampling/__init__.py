"""Search over states."""

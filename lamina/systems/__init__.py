"""One file per learning problem."""

"""Systems that make up examples."""

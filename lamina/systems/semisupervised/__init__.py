"""Systems that learn from few labels."""

"""Systems with a memory beside their units."""

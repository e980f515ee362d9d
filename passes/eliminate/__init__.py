"""Nodes and initializers that do nothing, or the same as others."""

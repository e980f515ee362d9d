"""Fewer bits for weights."""

"""Constants and shapes."""

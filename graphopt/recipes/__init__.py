"""Recipes that come with graphopt, as TOML files."""

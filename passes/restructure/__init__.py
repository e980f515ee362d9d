"""Other ways to order the same work."""

"""The one error that this folder's functions raise for reasons a user can act on."""

from __future__ import annotations


class ModelError(Exception):
    """A model could not be found, brought here or trusted; the message is one line."""

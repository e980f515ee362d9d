"""Random models that are valid by construction, out of a vocabulary of some 80 operators."""

from tests.acceptance.random_graphs.model import Drawn, draw_model

__all__ = ["Drawn", "draw_model"]

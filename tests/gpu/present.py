"""Whether CUDA runs a model here."""

from __future__ import annotations

from functools import cache

from graphopt.errors import GraphoptError
from graphopt.runtime.availability import check_available
from graphopt.runtime.settings import CUDA, Provider


@cache
def has_gpu() -> bool:
    """True when a session opens on CUDA."""
    try:
        check_available(Provider(CUDA))
    except GraphoptError:
        return False
    return True

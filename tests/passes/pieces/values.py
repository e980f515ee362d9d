"""Constants of pieces."""

from __future__ import annotations

import numpy as np

from tests.passes.support import Array


def normal(*shape: int, seed: int = 3) -> Array:
    """Random numbers."""
    return np.asarray(np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def f32(*numbers: float) -> Array:
    """A vector of floating-point numbers."""
    return np.array(numbers, np.float32)


def scalars(**numbers: float) -> dict[str, Array]:
    """Floating-point numbers, by name."""
    return {name: np.array(number, np.float32) for name, number in numbers.items()}


def integers(**numbers: int | list[int]) -> dict[str, Array]:
    """Integers and vectors of them, by name."""
    return {name: np.array(number, np.int64) for name, number in numbers.items()}

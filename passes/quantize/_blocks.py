"""Going through a large array piece by piece, so that what is worked out of it stays small."""

from __future__ import annotations

from collections.abc import Iterator

from graphopt.contract import Array

_BLOCK = 1 << 20
"""Elements in one piece, unless a single index of the longest axis holds more."""

Index = tuple[slice, ...]


def blocks(shape: tuple[int, ...]) -> Iterator[Index]:
    """Indices that cut an array of one axis or more into pieces along its longest axis."""
    longest = max(range(len(shape)), key=lambda axis: shape[axis])
    size = 1
    for axis, length in enumerate(shape):
        size *= 1 if axis == longest else length
    step = max(1, _BLOCK // max(size, 1))
    whole = [slice(None)] * len(shape)
    for start in range(0, shape[longest], step):
        whole[longest] = slice(start, start + step)
        yield tuple(whole)


def part(array: Array, index: Index) -> Array:
    """The piece of an array that broadcasts to the array cut up: a view."""
    return array[
        tuple(
            cut if size > 1 else slice(None) for cut, size in zip(index, array.shape, strict=True)
        )
    ]

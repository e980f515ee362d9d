"""What is known of every value before the model runs: dimensions, and the content of small tensors.

Nothing here trusts a symbol that a file or inference wrote on an inner value: those are only names,
and two rounds of inference give the same name to different sizes. Symbols come from the graph's
own inputs, where ONNX promises that one name is one size, and from the values themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from graphopt.contract import GraphView, NodeView, ValueView
from graphopt.passes.fold._sizes import Size, Symbol, size, symbol

Dims = tuple[Size, ...]
Content = npt.NDArray[Any]
"""An array of Size objects, of the tensor's own shape."""

_NARROW, _WIDE = 64, 2**31
"""Factors of symbols up to which 32-bit and 64-bit arithmetic on sizes is followed."""
MAX_ELEMENTS = 256
"""Shapes and indices are short; longer integer tensors are data."""


class Facts:
    """Facts about the values of one program, filled in node order.

    Attributes:
        nonzero: Sizes with which the model does not run where they are 0.
    """

    def __init__(self, nonzero: Iterable[Symbol] = ()) -> None:
        self.nonzero = frozenset(nonzero)
        self._dims: dict[ValueView, Dims | None] = {}
        self._content: dict[ValueView, Content | None] = {}
        self._numbers: dict[ValueView, int] = {}

    def dims(self, value: ValueView | None) -> Dims | None:
        """The shape, None when not even the rank is known."""
        if value is None:
            return None
        if value not in self._dims:
            self._dims[value] = self._declared(value)
        return self._dims[value]

    def content(self, value: ValueView | None) -> Content | None:
        """The values of a small integer or boolean tensor; None where they are not known."""
        if value is None:
            return None
        if value not in self._content:
            self._content[value] = _constant(value)
        return self._content[value]

    def learn(self, value: ValueView, dims: Dims | None, content: Content | None) -> None:
        """Note what a rule found.

        Numbers that ONNX's inference knows are added, but not in place of numbers, nor of sizes
        made of the inputs' own: there they can only be a stale declaration.
        """
        known = self._declared(value)
        if dims is None or (known is not None and len(known) != len(dims)):
            dims = known
        elif known is not None:
            dims = tuple(
                number if number.integer is not None and not _is_settled(found) else found
                for found, number in zip(dims, known, strict=True)
            )
        self._dims[value] = dims
        if content is not None and _fits(content, value):
            self._content[value] = content

    def _declared(self, value: ValueView) -> Dims | None:
        if value.shape is None:
            return None
        number = self._numbers.setdefault(value, len(self._numbers))
        shared = value.is_graph_input and value.graph.kind == "main"
        found = []
        for axis, dim in enumerate(value.shape):
            if isinstance(dim, int):
                found.append(size(dim))
            elif shared and isinstance(dim, str):
                found.append(symbol(dim))
            else:
                found.append(symbol(f"{number}[{axis}]", local=True))
        return tuple(found)


def _is_settled(dim: Size) -> bool:
    return dim.is_of_inputs


def _fits(content: Content, value: ValueView) -> bool:
    """False where the tensor's own arithmetic would have wrapped around, or is unsigned."""
    if value.dtype == np.bool_:
        return True
    if content.size > MAX_ELEMENTS or value.dtype not in (np.int32, np.int64):
        return False
    least, most = np.iinfo(value.dtype).min, np.iinfo(value.dtype).max
    numbers = [entry.integer for entry in content.ravel()]
    if not all(number is None or least <= number <= most for number in numbers):
        return False
    # A symbolic product is a dimension's, or it is below 2**31 by itself: what wraps is a factor.
    bound = _NARROW if value.dtype == np.int32 else _WIDE
    return all(entry.is_below(bound) for entry in content.ravel())


def _constant(value: ValueView) -> Content | None:
    if not value.is_constant or value.dtype is None or value.dtype.kind not in "iub":
        return None
    if value.shape is None or any(not isinstance(dim, int) for dim in value.shape):
        return None
    if int(np.prod([dim for dim in value.shape if isinstance(dim, int)])) > MAX_ELEMENTS:
        return None
    return as_content(value.array())


def as_content(array: npt.ArrayLike) -> Content:
    """Integers or booleans as an array of sizes."""
    plain = np.asarray(array)
    found = np.empty(plain.shape, dtype=object)
    for index in np.ndindex(*plain.shape):
        found[index] = size(int(plain[index]))
    return found


def integers(content: Content | None) -> npt.NDArray[np.int64] | None:
    """The numbers, int64, where every element is one; None elsewhere."""
    if content is None:
        return None
    values = [entry.integer for entry in content.ravel()]
    if any(value is None or not -(2**63) <= value < 2**63 for value in values):
        return None
    return np.array(values, dtype=np.int64).reshape(content.shape)


def walk(graph: GraphView) -> Sequence[NodeView]:
    """Every node of a graph and of its bodies; a body's nodes stand where their owner does."""
    found: list[NodeView] = []
    for node in graph.nodes:
        for body in node.bodies.values():
            found += walk(body)
        found.append(node)
    return found

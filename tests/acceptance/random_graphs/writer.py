"""What a random graph is written with: values whose shapes are known, constants, nodes, scopes.

A shape is known in two worlds, which differ in the sizes of the open dimensions. A node is written
only where it is valid in both; a size that is the same in both may stand in a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Pair = tuple[Shape, Shape]

LARGEST = 1e4
"""Bound on the magnitude of values: beyond it, rounding would look like a wrong rewrite."""
MOST_ELEMENTS = 4096


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph being written.

    Attributes:
        shapes: Its shape in each world.
        exact: Nothing on its way was rounded; only such values may be compared or truncated.
        bound: No element is larger in magnitude.
        numbers: Its elements in each world, where they are sizes.
        stored: It is a constant.
    """

    name: str
    dtype: np.dtype[Any]
    shapes: Pair
    exact: bool = True
    bound: float = 2.0
    numbers: tuple[Array, Array] | None = None
    stored: bool = False

    @property
    def rank(self) -> int:
        return len(self.shapes[0])

    @property
    def fixed(self) -> tuple[int | None, ...]:
        """Sizes that are the same in both worlds."""
        return tuple(a if a == b else None for a, b in zip(*self.shapes, strict=True))

    @property
    def filled(self) -> bool:
        """It has elements: what kernels make of none is not what the test is about."""
        return all(size for shape in self.shapes for size in shape)

    def named(self, name: str) -> Value:
        return replace(self, name=name, stored=False)


@dataclass
class Scope:
    """One graph: its nodes, and the values that they may read (those outside included)."""

    values: list[Value]
    nodes: list[NodeProto] = field(default_factory=list)
    initializers: list[TensorProto] = field(default_factory=list)
    made: list[Value] = field(default_factory=list)
    depth: int = 0


@dataclass
class Writer:
    """Writes nodes into the innermost scope."""

    random: Random
    opset: int
    scope: Scope
    chaining: float = 0.5
    """How often a node reads the latest value that fits: long chains, or wide graphs."""
    count: int = 0
    overridable: list[tuple[Value, Array]] = field(default_factory=list)
    pool: list[Value] = field(default_factory=list)
    ops: set[str] = field(default_factory=set)

    def fresh(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def value(self, wanted: Callable[[Value], bool]) -> Value | None:
        """A value that fits, a late one more often than an early one."""
        fitting = [v for v in self.scope.values if wanted(v)]
        if not fitting:
            return None
        if self.chance(self.chaining):
            return fitting[-1]
        return self.random.choice(fitting)

    def node(
        self,
        op: str,
        inputs: Sequence[Value | str],
        like: Value,
        *,
        domain: str = "",
        **attributes: Any,
    ) -> Value:
        """Write a node with one output, which is as `like` but for its name."""
        return self.nodes(op, inputs, [like], domain=domain, **attributes)[0]

    def nodes(
        self,
        op: str,
        inputs: Sequence[Value | str],
        like: Sequence[Value | None],
        *,
        domain: str = "",
        **attributes: Any,
    ) -> list[Value]:
        """Write a node; an output that is None is left out."""
        made = [None if v is None else v.named(self.fresh()) for v in like]
        names = [item if isinstance(item, str) else item.name for item in inputs]
        outputs = ["" if v is None else v.name for v in made]
        given = {k: v for k, v in attributes.items() if v is not None}
        self.scope.nodes.append(helper.make_node(op, names, outputs, domain=domain, **given))
        self.ops.add(op)
        new = [v for v in made if v is not None]
        self.scope.values += new
        self.scope.made += new
        return new

    def constant(self, array: Array) -> Value:
        """Store an array: as initializer, in a Constant node, or where an equal one lies."""
        for old in self.pool:
            if (
                old in self.scope.values
                and old.dtype == array.dtype
                and old.shapes[0] == array.shape
                and old.numbers is not None
                and old.numbers[0].tobytes() == array.tobytes()
                and self.chance(0.5)
            ):
                return old
        name = self.fresh()
        bound = float(np.abs(array.astype(np.float64)).max(initial=0.0))
        shapes = (array.shape, array.shape)
        value = Value(name, array.dtype, shapes, True, bound, (array, array), True)
        tensor = numpy_helper.from_array(array, name)
        if self.chance(0.3):
            self.scope.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.scope.initializers.append(tensor)
        self.pool.append(value)
        self.scope.values.append(value)
        return value

    def overridable_constant(self, array: Array) -> Value:
        """Store an array as the default of a graph input; the second world feeds another one."""
        name = self.fresh()
        value = Value(name, array.dtype, (array.shape, array.shape), True, 4.0)
        self.scope.initializers.append(numpy_helper.from_array(array, name))
        self.overridable.append((value, array))
        self.scope.values.append(value)
        return value

    def ints(self, *numbers: int) -> Value:
        return self.constant(np.array(numbers, np.int64))

    def floats(self, shape: Shape, dtype: Any = np.float32) -> Array:
        """Multiples of a quarter, so that sums and products are exact; now and then plain ones."""
        kind = self.random.choice(["zeros", "ones", "minus zero", "same", *["any"] * 8])
        fill = {"zeros": 0.0, "ones": 1.0, "minus zero": -0.0, "same": 0.5}
        if kind in fill:
            return np.full(shape, fill[kind], dtype)
        rng = np.random.default_rng(self.random.randrange(1 << 30))
        return (rng.integers(-6, 7, shape) / 4).astype(dtype)

    def weight(self, *shape: int, dtype: Any = np.float32) -> Value:
        array = self.floats(shape, dtype)
        if self.scope.depth == 0 and self.chance(0.05):
            return self.overridable_constant(array)
        return self.constant(array)


def broadcast(*values: Value) -> Pair | None:
    """The shape of an elementwise result, or None where the shapes do not go together."""
    try:
        pair = tuple(np.broadcast_shapes(*(v.shapes[w] for v in values)) for w in (0, 1))
    except ValueError:
        return None
    return (pair[0], pair[1]) if small((pair[0], pair[1])) else None


def small(pair: Pair) -> bool:
    return all(int(np.prod(shape)) <= MOST_ELEMENTS and len(shape) <= 6 for shape in pair)


def replaced(pair: Pair, axis: int, sizes: tuple[int, int]) -> Pair:
    """A shape with another size along one axis."""
    first, second = list(pair[0]), list(pair[1])
    first[axis], second[axis] = sizes
    return tuple(first), tuple(second)


def info(value: Value, *, declare: bool = True) -> ValueInfoProto:
    """The value's type as a file declares it; an open size is left out or has a name."""
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    dims = [size if size is not None else f"{value.name}_{i}" for i, size in enumerate(value.fixed)]
    return helper.make_tensor_value_info(value.name, kind, dims if declare else [None] * value.rank)


def graph(
    name: str, scope: Scope, inputs: list[ValueInfoProto], outputs: list[Value]
) -> GraphProto:
    """A scope as a message."""
    return helper.make_graph(
        scope.nodes, name, inputs, [info(v) for v in outputs], scope.initializers
    )

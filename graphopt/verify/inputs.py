"""Seeded inputs for models nobody described: shapes that vary, values that make sense.

Sizes of dynamic dimensions are tried in an order that suits images, sequences and audio; a size
counts once the original itself runs with it. What the graph tells is used: an integer that indexes
a table stays inside it, one that is compared with constants takes their values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto, TypeProto, ValueInfoProto

from graphopt.contract import Array, GraphView, ValueView
from graphopt.errors import UsageError
from graphopt.model.tensor import numpy_dtype

Feeds = dict[str, Any]

BATCHES = (1, 2, 3)
"""Batch size of the first, second and third input set."""
IMAGE_SIZES = (
    ((224, 192), (160, 224), (192, 160)),
    ((48, 192), (48, 320), (48, 160)),
    ((64, 64), (96, 96), (128, 128)),
    ((32, 32), (64, 64), (96, 96)),
    ((28, 28), (28, 28), (28, 28)),
)
"""Height and width per input set; many models want multiples of 32, some a fixed height."""
SEQUENCE_SIZES = (
    (16, 9, 24), (576, 576, 288), (512, 512, 256), (64, 128, 32), (80, 80, 80), (1, 1, 1),
)  # fmt: skip
_SIZES = frozenset(
    {("ConstantOfShape", 0), ("Expand", 1), ("EyeLike", 0), ("OneHot", 1), ("Pad", 1), ("Range", 0),
     ("Range", 1), ("Range", 2), ("Reshape", 1), ("Resize", 3), ("Slice", 1), ("Slice", 2),
     ("Tile", 1), ("TopK", 1), ("Loop", 0)}
)  # fmt: skip
"""Inputs that say how large a result is, or how long a loop runs: small numbers there."""
_SMALL = 6
CEILINGS = (100, 3)
"""Bounds on integers of unknown meaning: most are counts or tokens, some index few classes."""
_THROUGH = frozenset({"Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Flatten"})


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of the main graph that a caller must feed.

    Attributes:
        dtype: Element type; None for anything but tensors and sequences of tensors.
        shape: Sizes, symbol names, or None per dimension; None when the rank is unknown.
        is_sequence: The input is a sequence of such tensors.
        below: Exclusive upper bound on integer values, where the graph tells one.
        choices: Values that the graph compares the input with.
    """

    name: str
    dtype: np.dtype[Any] | None
    shape: tuple[int | str | None, ...] | None
    is_sequence: bool = False
    below: int | None = None
    choices: tuple[int, ...] = field(default=())


def check_shapes(
    shapes: Mapping[str, Sequence[int]], specs: Sequence[InputSpec]
) -> dict[str, tuple[int, ...]]:
    """Check that stated shapes name inputs that exist.

    Raises:
        UsageError: They do not.
    """
    names = [spec.name for spec in specs]
    for name in shapes:
        if name not in names:
            raise UsageError(
                f"a shape is stated for {name!r}, which is no input of the model",
                hint=f"inputs: {', '.join(names)}",
            )
    return {name: tuple(shape) for name, shape in shapes.items()}


def input_specs(model: ModelProto, graph: GraphView | None = None) -> list[InputSpec]:
    """The inputs that a caller must feed, with what the graph tells about their values.

    Args:
        model: The model.
        graph: Its main graph, for the hints.
    """
    defaults = {tensor.name for tensor in model.graph.initializer}
    values = {} if graph is None else {value.name: value for value in graph.inputs}
    return [
        _spec(info, values.get(info.name))
        for info in model.graph.input
        if info.name not in defaults
    ]


def _spec(info: ValueInfoProto, value: ValueView | None) -> InputSpec:
    kind: TypeProto = info.type
    is_sequence = kind.HasField("sequence_type")
    if is_sequence:
        kind = kind.sequence_type.elem_type
    if not kind.HasField("tensor_type"):
        return InputSpec(info.name, None, None)
    dtype = numpy_dtype(kind.tensor_type.elem_type)
    shape: tuple[int | str | None, ...] | None = None
    if kind.tensor_type.HasField("shape"):
        shape = tuple(
            int(d.dim_value) if d.HasField("dim_value") and d.dim_value > 0 else d.dim_param or None
            for d in kind.tensor_type.shape.dim
        )
    if value is None or dtype is None or dtype.kind not in "iu":
        return InputSpec(info.name, dtype, shape, is_sequence)
    below, choices = _integer_hints(value)
    return InputSpec(info.name, dtype, shape, is_sequence, below, choices)


def _integer_hints(value: ValueView) -> tuple[int | None, tuple[int, ...]]:
    bounds: list[int] = []
    choices: list[int] = []
    seen: set[str] = set()
    pending = [value]
    while pending:
        current = pending.pop()
        for use in current.readers:
            node = use.node
            first = node.inputs[0]
            if node.op_type == "Gather" and use.index == 1 and first is not None:
                axis, dims = node.attribute("axis", 0), first.shape or ()
                size = dims[axis] if isinstance(axis, int) and 0 <= axis < len(dims) else None
                bounds += [size] if isinstance(size, int) else []
            elif (node.op_type, use.index) in _SIZES:
                bounds.append(_SMALL)
            elif node.op_type == "Equal":
                other = node.inputs[1 - use.index]
                if other is not None and other.is_constant and (other.nbytes or 0) <= 64:
                    choices += [int(v) for v in other.array().reshape(-1).tolist()]
            elif node.op_type in _THROUGH and use.index == 0 and node.outputs[0] is not None:
                following = node.outputs[0]
                if following.name not in seen:
                    seen.add(following.name)
                    pending.append(following)
    return min(bounds, default=None), tuple(dict.fromkeys(choices))


@dataclass(frozen=True, slots=True)
class SizePlan:
    """Sizes for the dimensions that a model leaves open, and what else an input set may vary."""

    batch: int
    image: tuple[int, int]
    other: int
    row: tuple[int, int] = (0, 0)
    """Which rows of the size tables it came from; the variation picks the column."""
    ceiling: int = CEILINGS[0]
    """Integers stay below this where the graph tells no bound."""
    pick: int = 0
    """Which of the values that the graph compares an input with; one beyond the last stands for a
    value that is none of them, so that an else branch runs too."""

    def size(self, spec: InputSpec, axis: int, dim: int | str | None) -> int:
        """The size of one dimension; a symbol with a fixed number in it is not special."""
        if isinstance(dim, int):
            return dim
        assert spec.shape is not None
        name = (dim or "").lower()
        if axis == 0 or "batch" in name or name == "n":
            return self.batch
        first = spec.shape[0]
        if axis == 1 and len(spec.shape) == 3 and isinstance(first, int) and first > 1:
            return self.batch  # a recurrent state: layers or directions, batch, width
        if len(spec.shape) in (4, 5) and axis >= 2:
            return self.image[axis == len(spec.shape) - 1]
        return self.other


def size_plans(variation: int) -> Iterator[SizePlan]:
    """Sizes to try for input set `variation` (0, 1, 2), the likeliest first."""
    column = variation % 3
    rows = [(image, 0) for image in range(len(IMAGE_SIZES))]
    rows += [(0, sequence) for sequence in range(1, len(SEQUENCE_SIZES))]
    for image, sequence in rows:
        for batch in dict.fromkeys((BATCHES[column], 1, 2)):
            yield SizePlan(
                batch, IMAGE_SIZES[image][column], SEQUENCE_SIZES[sequence][column],
                (image, sequence),
            )  # fmt: skip


def make_feeds(
    specs: list[InputSpec],
    plan: SizePlan,
    seed: int,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Feeds | None:
    """Make one input set.

    Args:
        specs: What to feed.
        plan: Sizes of open dimensions; equal symbols get equal sizes by construction.
        seed: The same seed gives the same values.
        shapes: Shapes that the user states.

    Returns:
        Arrays by input name, or None where an input is of a kind that nothing can be made for.
    """
    rng = np.random.default_rng(seed)
    feeds: Feeds = {}
    shapes = shapes or {}
    symbols = _stated_symbols(specs, shapes)
    for spec in specs:
        if spec.dtype is None:
            return None
        shape = shapes[spec.name] if spec.name in shapes else _shape(spec, plan, symbols)
        if math.prod(shape) > 1 << 28:
            return None
        array = _values(spec, shape, plan, rng, seed)
        feeds[spec.name] = [array, array.copy()] if spec.is_sequence else array
    return feeds


def _stated_symbols(
    specs: list[InputSpec], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, int]:
    """Sizes of symbols in the shapes that the user states; they hold for every input."""
    return {
        dim: size
        for spec in specs
        if spec.shape is not None
        for dim, size in zip(spec.shape, shapes.get(spec.name, ()), strict=False)
        if isinstance(dim, str)
    }


def _shape(spec: InputSpec, plan: SizePlan, symbols: dict[str, int]) -> tuple[int, ...]:
    sizes = []
    for axis, dim in enumerate(spec.shape or ()):
        size = plan.size(spec, axis, dim)
        if isinstance(dim, str):
            size = symbols.setdefault(dim, size)
        sizes.append(size)
    return tuple(sizes)


def _values(
    spec: InputSpec, shape: tuple[int, ...], plan: SizePlan, rng: np.random.Generator, seed: int
) -> Array:
    assert spec.dtype is not None
    kind = spec.dtype.kind
    if kind == "O":
        words = rng.integers(0, 1000, shape)
        return np.array([f"text {w}" for w in words.reshape(-1)], dtype=object).reshape(shape)
    if kind == "b":
        # A single flag chooses a branch: take both in turn.
        return rng.random(shape) < 0.75 if shape else np.array(seed % 2 == 0)
    if kind in "iu":
        return _integers(spec, shape, plan, rng, seed).astype(spec.dtype)
    if kind == "c":
        values = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
        return np.asarray(values, spec.dtype)
    return np.asarray(rng.standard_normal(shape)).astype(spec.dtype)


def _integers(
    spec: InputSpec, shape: tuple[int, ...], plan: SizePlan, rng: np.random.Generator, seed: int
) -> Array:
    if spec.choices and math.prod(shape) == 1:
        values = (*spec.choices, max(spec.choices) // 2)
        return np.full(shape, values[plan.pick % len(values)])
    if "mask" in spec.name.lower():
        mask = np.ones(shape, np.int64)
        if shape and shape[-1] > 3:
            mask[..., shape[-1] - seed % 3 :] = 0
        return mask
    limit = int(np.iinfo(spec.dtype).max) if spec.dtype is not None else plan.ceiling
    return rng.integers(0, min(spec.below or plan.ceiling, plan.ceiling, limit), shape)

"""Let one Gather do what slices of a tensor and their Concat do: the roll of shifted windows.

Before: a = Slice(x, 4:), b = Slice(x, :4), Concat(a, b) -> y
After:  Gather(x, [4, 5, 6, 7, 0, 1, 2, 3]) -> y

The parts are Slices along the axis of the Concat with constant bounds, or outputs of a Split.
Conditions: the axis is of a known length, nothing else reads the parts, and what follows the axis
is long enough that a Gather is no slower.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.passes.fuse._slices import windows_of

_MOST_PLACES = 4096
_SHORTEST = 16
"""Elements that a Gather moves as one piece, from which it took 0.55 to 0.8 of the time."""


@dataclass(frozen=True, slots=True)
class Found:
    """A Concat of parts of one tensor, and where each element along the axis comes from."""

    node: NodeView
    parts: list[NodeView]
    source: ValueView
    axis: int
    places: list[int]
    effect: Effect = Effect.IDENTICAL


@dataclass(frozen=True)
class FuseRolls:
    """Replace a Concat of slices of one tensor by a Gather.

    Fires on synthetic graphs only among the catalogue's models. Source: ONNX operators Slice,
    Split, Concat and Gather, opsets 1 to 25.
    """

    name: ClassVar[str] = "fuse_rolls"
    effect: ClassVar[Effect] = Effect.IDENTICAL
    roots: ClassVar[tuple[str, ...]] = ("Concat",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one Concat."""
        parts = [_part(value, node) for value in node.inputs]
        known = list(dict.fromkeys(part for part in parts if part is not None))
        if len(parts) < 2 or None in parts or not known or node.outputs[0] is None:
            return None
        source = known[0].inputs[0]
        shape = source.shape if source is not None else None
        if source is None or not shape or any(part.inputs[0] is not source for part in known):
            return None
        axis = node.attribute("axis", 1 if graph.opset() < 4 else None)
        axis = None if axis is None else axis + len(shape) if axis < 0 else axis
        length = shape[axis] if axis is not None and axis < len(shape) else None
        if axis is None or not isinstance(length, int):
            return Skip("the length of the axis is not known")
        if not all(_dies_with(part, node) for part in known):
            return Skip("a part is read elsewhere")
        places: list[int] = []
        for value, part in zip(node.inputs, parts, strict=True):
            found = _PLACES[part.op_type](part, value, axis, shape) if part is not None else None
            if found is None:
                return Skip("where a part lies is not known")
            places += found
        inner = [dim for dim in shape[axis + 1 :] if isinstance(dim, int)]
        short = len(inner) == len(shape) - axis - 1 and int(np.prod(inner)) < _SHORTEST
        if short or len(places) > _MOST_PLACES or not graph.stores_initializers:
            return Skip("a Gather would be slower, or would need a node for its indices")
        if places == list(range(length)):
            return None
        return Found(node, known, source, axis, places)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Gather straight from the source."""
        target = match.node.outputs[0]
        assert target is not None
        array = np.array(match.places, np.int64)
        indices = edit.constant(array, f"{target.name}_indices", match.node.graph)
        made = edit.insert(
            "Gather", [match.source, indices], before=match.node, attributes={"axis": match.axis}
        )
        edit.adopt(made, 0, target)
        edit.remove(match.node)
        for part in match.parts:
            edit.remove(part)


def _part(value: ValueView | None, node: NodeView) -> NodeView | None:
    producer = value.producer if value is not None else None
    if producer is None or producer.op_type not in _PLACES or producer.is_opaque:
        return None
    return producer if producer.graph is node.graph else None


def _dies_with(part: NodeView, node: NodeView) -> bool:
    """True where nothing but the Concat reads any of its outputs."""
    values = [value for value in part.outputs if value is not None]
    return not any(v.is_graph_output or any(u.node is not node for u in v.readers) for v in values)


def _sliced(
    part: NodeView, value: ValueView | None, axis: int, shape: tuple[Any, ...]
) -> list[int] | None:
    windows = windows_of(part)
    if windows is None or list(windows) != [axis] or windows[axis].step < 1:
        return None
    window = windows[axis]
    return list(range(shape[axis])[window.start : window.end : window.step])


def _split(
    part: NodeView, value: ValueView | None, axis: int, shape: tuple[Any, ...]
) -> list[int] | None:
    own = part.attribute("axis", 0)
    if (own + len(shape) if own < 0 else own) != axis:
        return None
    start = 0
    for output in part.outputs:
        dims = output.shape if output is not None else None
        length = dims[axis] if dims and len(dims) == len(shape) else None
        if not isinstance(length, int):
            return None
        if output is value:
            return list(range(start, start + length))
        start += length
    return None


_Places = Callable[[NodeView, "ValueView | None", int, tuple[Any, ...]], "list[int] | None"]
_PLACES: dict[str, _Places] = {"Slice": _sliced, "Split": _split}

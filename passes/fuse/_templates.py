"""Reshape, Squeeze, Unsqueeze and Flatten as one thing: which dimension comes from where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphopt.contract import Dim, NodeView

OPERATORS = ("Reshape", "Squeeze", "Unsqueeze", "Flatten")


@dataclass(frozen=True, slots=True)
class Copy:
    """The dimension that the input has at an axis."""

    axis: int


@dataclass(frozen=True, slots=True)
class Open:
    """The one dimension that makes the number of elements come out."""


Entry = int | Copy | Open
Template = tuple[Entry, ...]
Shape = Sequence[Dim]


def template_of(node: NodeView) -> Template | None:
    """What a node makes of its input's dimensions; None where constants do not tell.

    Source: ONNX operators Reshape (opset 5 on), Squeeze, Unsqueeze, Flatten.
    """
    source, result = node.inputs[0], node.outputs[0]
    if source is None or source.shape is None:
        return None
    found = _READERS[node.op_type](node, len(source.shape))
    shape = result.shape if result is not None else None
    if found is None or shape is None or len(shape) != len(found):
        return found
    pairs = zip(found, shape, strict=True)
    return tuple(
        dim if isinstance(entry, Open) and isinstance(dim, int) else entry for entry, dim in pairs
    )


def composed(outer: Template, inner: Template) -> Template:
    """What two nodes in a row make of the first one's input."""
    return tuple(inner[entry.axis] if isinstance(entry, Copy) else entry for entry in outer)


def has_both(template: Template, shape: Shape) -> bool:
    """True where an open dimension stands beside a copied one whose number is not known."""
    copies = any(isinstance(e, Copy) and not isinstance(shape[e.axis], int) for e in template)
    return copies and Open() in template


def is_source(template: Template, shape: Shape) -> bool:
    """True where nothing changes."""
    return len(template) == len(shape) and all(
        entry == Copy(axis) or (isinstance(entry, int) and entry == dim)
        for axis, (entry, dim) in enumerate(zip(template, shape, strict=True))
    )


def reshape_target(
    template: Template, shape: Shape, *, copies_beside_open: bool
) -> list[int] | None:
    """The target that Reshape needs for a template, None where it has no words for it.

    Args:
        template: What to express.
        shape: The input's dimensions.
        copies_beside_open: Allow -1 beside a copied dimension. Where the copied one is 0 at run
            time, Reshape cannot tell the other, so this must not be introduced.
    """
    if template.count(Open()) > 1 or (has_both(template, shape) and not copies_beside_open):
        return None
    target = [_number(position, entry, shape) for position, entry in enumerate(template)]
    found = [number for number in target if number is not None]
    return found if len(found) == len(target) else None


def _number(position: int, entry: Entry, shape: Shape) -> int | None:
    if isinstance(entry, Open):
        return -1
    dim = shape[entry.axis] if isinstance(entry, Copy) else entry
    if isinstance(dim, int) and dim > 0:
        return dim
    return 0 if entry == Copy(position) else None


def unsqueeze_axes(template: Template, rank: int) -> list[int] | None:
    """Axes that Unsqueeze has to add to an input of that rank, None where it is not that."""
    kept = [entry for entry in template if entry != 1]
    if kept != [Copy(axis) for axis in range(rank)]:
        return None
    return [position for position, entry in enumerate(template) if entry == 1]


def squeeze_axes(template: Template, shape: Shape, *, certain: bool) -> list[int] | None:
    """Axes that Squeeze has to take from an input, None where it is not that.

    Args:
        template: What to express.
        shape: The input's dimensions.
        certain: The axes that go are sure to have length 1, whatever `shape` knows.
    """
    kept = [entry.axis for entry in template if isinstance(entry, Copy)]
    if len(kept) != len(template) or kept != sorted(set(kept)):
        return None
    dropped = [axis for axis in range(len(shape)) if axis not in kept]
    return dropped if certain or all(shape[axis] == 1 for axis in dropped) else None


def _reshape(node: NodeView, rank: int) -> Template | None:
    target = _numbers(node, 1) if node.graph.opset() >= 5 else None
    if target is None or target.count(-1) > 1:
        return None
    if node.attribute("allowzero", 0):
        return None if 0 in target else _literal(target)
    if any(entry == 0 and position >= rank for position, entry in enumerate(target)):
        return None
    return tuple(
        Copy(position) if entry == 0 else Open() if entry == -1 else entry
        for position, entry in enumerate(target)
    )


def _literal(target: list[int]) -> Template:
    return tuple(Open() if entry == -1 else entry for entry in target)


def _squeeze(node: NodeView, rank: int) -> Template | None:
    axes = _axes(node, rank)
    return None if not axes else tuple(Copy(axis) for axis in range(rank) if axis not in axes)


def _unsqueeze(node: NodeView, rank: int) -> Template | None:
    count = len(node.attribute("axes") or []) or len(_numbers(node, 1) or [])
    axes = _axes(node, rank + count)
    if not axes or len(set(axes)) != count:
        return None
    rest = iter(range(rank))
    return tuple(1 if axis in axes else Copy(next(rest)) for axis in range(rank + count))


def _flatten(node: NodeView, rank: int) -> Template | None:
    axis = node.attribute("axis", 1)
    axis = axis + rank if axis < 0 else axis
    if axis == 0:
        return (1, Open())
    if axis == rank:
        return (Open(), 1)
    return (Copy(0), Open()) if axis == 1 else None


def _axes(node: NodeView, rank: int) -> list[int] | None:
    axes = node.attribute("axes") if node.graph.opset() < 13 else _numbers(node, 1)
    return None if axes is None else [axis + rank if axis < 0 else axis for axis in axes]


def _numbers(node: NodeView, index: int) -> list[int] | None:
    value = node.inputs[index] if len(node.inputs) > index else None
    if value is None or not value.is_constant:
        return None
    return [int(number) for number in value.array().ravel()]


_READERS = {
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Flatten": _flatten,
}

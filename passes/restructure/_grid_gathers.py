"""What a gather by its own grid gives: its data, cut, with axes of size 1 put in or taken out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphopt.contract import NodeView, ValueView
from graphopt.passes.fold._facts import Dims
from graphopt.passes.fold._forms import coordinate, row_major
from graphopt.passes.fold._grids import Grids
from graphopt.passes.fold._sizes import Size, product
from graphopt.passes.restructure._slicing import Cut, cut, dying, ones_to_add


@dataclass(frozen=True, slots=True)
class Plain:
    """How to have a value without gathering.

    Attributes:
        source: What to start from.
        cuts: Rows to keep, in turn.
        operator: Unsqueeze or Squeeze behind them; empty for neither.
        axes: Its axes.
    """

    source: ValueView
    cuts: tuple[Cut, ...] = ()
    operator: str = ""
    axes: tuple[int, ...] = ()

    @property
    def nodes(self) -> int:
        """How many nodes it takes."""
        return sum(found.nodes for found in self.cuts) + bool(self.operator)

    def pays(self, node: NodeView, *, fewer: bool) -> bool:
        """Tell whether at least as many nodes go away with a node, or more."""
        gone = dying(node, [self.source, *(found.holder for found in self.cuts)])
        return self.nodes + fewer <= gone


def plain_gather(node: NodeView, grids: Grids) -> Plain | None:
    """Look at one gather whose indices count up along one axis for each that they choose from."""
    source, indices = node.inputs[0], node.inputs[1]
    dims, grid = _data_dims(source, grids), grids.dims(indices)
    if source is None or not dims or grid is None:
        return None
    chosen = _CHOSEN[node.op_type](node, dims, grid, grids)
    if chosen is None:
        return None
    cuts = []
    for axis, length in chosen.lengths:
        found = None if length == dims[axis] else cut(axis, length, dims[axis], node, grids)
        if found is None and length != dims[axis]:
            return None
        cuts += [] if found is None else [found]
    operator = "Unsqueeze" if chosen.ones else ""
    return Plain(source, tuple(cuts), operator, tuple(chosen.ones))


def _data_dims(value: ValueView | None, grids: Grids) -> Dims | None:
    """Dimensions, also those that a Reshape leaves open and that divide, or it would not run."""
    known = grids.dims(value)
    maker = value.producer if value is not None else None
    while maker is not None and maker.op_type in ("Cast", "Identity") and not maker.is_opaque:
        source = maker.inputs[0]
        maker = source.producer if source is not None else None
    if known is None or maker is None or maker.op_type != "Reshape" or maker.is_opaque:
        return known
    whole, target = grids.dims(maker.inputs[0]), grids.content(maker.inputs[1])
    if whole is None or target is None or not maker.attribute("allowzero", 0):
        return known  # without it, an entry that comes out as 0 copies
    rest = [entry for entry in target.ravel() if entry.integer != -1]
    if len(rest) != len(known) - 1 or not all(entry.is_nonnegative for entry in rest):
        return known
    # Where the rest is 0, ONNX cannot tell the open one, and the model does not run.
    length = product(whole).quotient(product(rest))
    if length is None:
        return known
    return tuple(length if entry.integer == -1 else entry for entry in target.ravel())


@dataclass(frozen=True, slots=True)
class _Chosen:
    """How many rows of which axes come out, and where axes of size 1 stand between them."""

    lengths: Sequence[tuple[int, Size]]
    ones: Sequence[int] = ()


def _gather(node: NodeView, dims: Dims, grid: Dims, grids: Grids) -> _Chosen | None:
    axis = node.attribute("axis", 0) % len(dims)
    form = grids.form(node.inputs[1])
    counted = [k for k, _ in enumerate(grid) if form == coordinate(len(grid) - 1 - k)]
    if len(counted) != 1:
        return None
    (kept,) = counted
    others = [k for k, _ in enumerate(grid) if k != kept]
    if any(grid[k].integer != 1 for k in others):
        return None
    return _Chosen([(axis, grid[kept])], [axis + k for k in others])


def _gather_nd(node: NodeView, dims: Dims, grid: Dims, grids: Grids) -> _Chosen | None:
    parts = grids.parts(node.inputs[1])
    if parts is None or node.attribute("batch_dims", 0) or len(parts) > len(dims):
        return None
    if not grid or grid[-1].integer != len(parts):
        return None
    axes = {coordinate(len(grid) - 1 - k): k for k in range(len(grid) - 1)}
    kept = [axes.get(part, -1) for part in parts]
    if -1 in kept or sorted(set(kept)) != kept:
        return None
    others = [k for k in range(len(grid) - 1) if k not in kept]
    if any(grid[k].integer != 1 for k in others):
        return None
    return _Chosen([(m, grid[k]) for m, k in enumerate(kept)], others)


def _gather_elements(node: NodeView, dims: Dims, grid: Dims, grids: Grids) -> _Chosen | None:
    if len(grid) != len(dims):
        return None
    axis = node.attribute("axis", 0) % len(dims)
    if grids.form(node.inputs[1]) != coordinate(len(grid) - 1 - axis):
        return None
    return _Chosen(list(enumerate(grid)))


_CHOSEN: dict[str, Callable[[NodeView, Dims, Dims, Grids], _Chosen | None]] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
}
GATHERS = frozenset(_CHOSEN)
RENAMINGS = frozenset({"Flatten", "Gather", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that may give all elements of their input, in their order, another shape."""

_LONGEST = 8


def plain_chain(node: NodeView, grids: Grids) -> Plain | None:
    """Look at the last of several nodes that give all elements of a value another shape."""
    result, after = node.outputs[0], grids.dims(node.outputs[0])
    if after is None or result is None:
        return None
    best, current = None, node
    for _ in range(_LONGEST):
        if current.is_opaque or not _is_whole(current, grids):
            break
        source = current.inputs[0]
        assert source is not None
        found = _reshaped(source, grids.dims(source), after)
        if found is not None and found.pays(node, fewer=current is node):
            best = found
        maker = source.producer
        if maker is None or maker.op_type not in RENAMINGS:
            break
        current = maker
    return best


def _is_whole(node: NodeView, grids: Grids) -> bool:
    """True where a node gives each element of its input once, in their order."""
    dims = grids.dims(node.inputs[0])
    if node.op_type != "Gather":
        return dims is not None
    grid, form = grids.dims(node.inputs[1]), grids.form(node.inputs[1])
    if not dims or grid is None or form is None:
        return False
    axis = node.attribute("axis", 0) % len(dims)
    return form == row_major(grid) and product(grid) == dims[axis]


def _reshaped(source: ValueView, before: Dims | None, after: Dims) -> Plain | None:
    if before is None:
        return None
    if before == after:
        return Plain(source)
    for operator, axes in (
        ("Unsqueeze", ones_to_add(before, after)),
        ("Squeeze", ones_to_add(after, before)),
    ):
        if axes:
            return Plain(source, operator=operator, axes=tuple(axes))
    return None

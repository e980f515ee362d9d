"""Let a chain of Reshape and Transpose do with fewer nodes what it does.

Before: x -> Reshape([-1, S, 16]) -> Transpose(0, 2, 1) -> Reshape([B, 4, 16, S]) -> y
After:  x -> Transpose(0, 1, 3, 2) -> y

Each dimension is followed as a product of pieces, which Reshape splits and joins and Transpose
moves. What the whole chain does to the pieces is said again as nothing, a Reshape, a Transpose, a
Gather where elements change places within one axis (a channel shuffle), Reshape and Transpose in
either order, or Reshape, Transpose, Reshape: the first of these that takes fewer nodes. Squeeze,
Unsqueeze and Flatten count as Reshape.

Conditions: the dimensions between are known as products of the sizes of the graph's inputs, nothing
else reads what lies between, and what a new Reshape needs can be said: by a constant target, or by
the last node's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.contract import (
    Context,
    Editor,
    Effect,
    GraphView,
    NodeView,
    Rewrite,
    Skip,
    ValueView,
)
from graphopt.passes.fold._dims import resolved
from graphopt.passes.fold._facts import Dims, Facts, walk
from graphopt.passes.fold._learnt import learnt
from graphopt.passes.fold._sizes import product
from graphopt.passes.fold._targets import reshape_target
from graphopt.passes.fuse._atoms import (
    Axis,
    axes_of,
    blocks,
    flat,
    lengths,
    ordered,
    regrouped,
    shuffle,
    transposition,
    whole,
)

_RESHAPING = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten"})
_MOVING = _RESHAPING | {"Transpose"}
_LONGEST = 10
"""Nodes of a chain that are looked at together."""
_MOST_PLACES = 4096
"""A longer axis is not shuffled by a Gather: its indices are stored."""
_SHORTEST = 4
"""Elements from which a Gather along an axis took 0.5 to 0.8 of the time of a Transpose."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A node to make: a Transpose with a permutation, a Gather, or a Reshape to axes."""

    axes: list[Axis]
    perm: list[int] | None = None
    shuffle: tuple[int, list[int]] | None = None


Steps = list[_Step]


@dataclass(frozen=True)
class FuseDataMovement:
    """Say a chain of Reshape and Transpose with fewer nodes.

    Fires on synthetic graphs only among the catalogue's models. Source: ONNX operators Reshape,
    opsets 5 to 25, Transpose, Squeeze, Unsqueeze and Flatten.
    """

    name: ClassVar[str] = "fuse_data_movement"
    effect: ClassVar[Effect] = Effect.IDENTICAL

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Look at each chain's end, after learning what is known of sizes."""
        nodes = walk(graph)
        ends = [node for node in nodes if _is_end(node)]
        if not ends:
            return
        facts = learnt(graph, nodes, context)
        for end in ends:
            yield from _shortened(_chain(end), facts)


def _is_end(node: NodeView) -> bool:
    """True for the last of two or more that move data."""
    result = node.outputs[0] if _moves(node) else None
    readers = result.readers if result is not None else ()
    if result is None or not (readers or result.is_graph_output) or _above(node) is None:
        return False
    return len(readers) != 1 or result.is_graph_output or _above(readers[0].node) is not node


def _moves(node: NodeView) -> bool:
    if node.op_type not in _MOVING or node.is_opaque or node.graph.opset() < 5:
        return False
    return node.outputs[0] is not None and node.inputs[0] is not None


def _above(node: NodeView) -> NodeView | None:
    """The moving node whose result this one alone reads."""
    value = node.inputs[0] if _moves(node) else None
    above = value.producer if value is not None else None
    if value is None or above is None or above.graph is not node.graph or not _moves(above):
        return None
    return above if len(value.readers) == 1 and not value.is_graph_output else None


def _chain(end: NodeView) -> list[NodeView]:
    found = [end]
    while len(found) < _LONGEST and (above := _above(found[-1])) is not None:
        found.append(above)
    return found[::-1]


def _shortened(chain: list[NodeView], facts: Facts) -> Iterator[Rewrite | Skip]:
    """The part of a chain that loses the most nodes, the longest first."""
    best: tuple[int, Rewrite] | None = None
    for count in range(len(chain), 1, -1):
        for first in range(len(chain) - count + 1):
            part = chain[first : first + count]
            if best is not None and count - 1 <= best[0]:
                continue
            found = _said_again(part, facts)
            if found is not None and (best is None or found[0] > best[0]):
                best = found
    if best is not None:
        yield best[1]
    else:
        yield Skip("no fewer nodes say it")


def _said_again(part: list[NodeView], facts: Facts) -> tuple[int, Rewrite] | None:
    """How many nodes fewer, and the rewrite; None where there is none."""
    source, target = part[0].inputs[0], part[-1].outputs[0]
    start = facts.dims(source)
    if source is None or target is None or start is None:
        return None
    before = axes_of(start)
    after = _followed(part, before, facts)
    if after is None:
        return None
    for steps in _ways(whole(before), whole(after)):
        if len(steps) >= len(part):
            return None
        if not steps and (source.shape is None or target.replaceable_by(source) is not None):
            return None
        made = _inserting(steps, part, start, facts)
        if made is not None:
            rewrite = Rewrite(target.label(), Effect.IDENTICAL, made)
            return len(part) - len(steps), rewrite
    return None


def _followed(part: list[NodeView], axes: list[Axis], facts: Facts) -> list[Axis] | None:
    """What the axes become."""
    for node in part:
        dims = facts.dims(node.outputs[0])
        if dims is None or any(not dim.terms for dim in dims):
            return None
        if node.op_type == "Transpose":
            perm = node.attribute("perm") or list(reversed(range(len(axes))))
            if sorted(perm) != list(range(len(axes))):
                return None
            axes = [axes[axis] for axis in perm]
        else:
            found = regrouped(axes, dims)
            if found is None:
                return None
            axes = found
    return axes


def _ways(before: list[Axis], after: list[Axis]) -> Iterator[Steps]:
    """Ways from one to the other, those of fewer nodes first."""
    if before == after:
        yield []
    if flat(before) == flat(after):
        yield [_Step(after)]
        return
    perm = transposition(before, after)
    if perm is not None:
        yield [_Step(after, perm)]
    places = shuffle(before, after)
    if places is not None and _is_shuffled_in_blocks(before, *places):
        yield [_Step(after, shuffle=places)]
    middle = ordered(after, flat(before))
    perm = None if middle is None else transposition(middle, after)
    if middle is not None and perm is not None:
        yield [_Step(middle), _Step(after, perm)]
    middle = ordered(before, flat(after))
    perm = None if middle is None else transposition(before, middle)
    if middle is not None and perm is not None:
        yield [_Step(middle, perm), _Step(after)]
    runs = blocks(flat(before), flat(after))
    middle = ordered(runs, flat(after))
    perm = None if middle is None else transposition(runs, middle)
    if middle is not None and perm is not None:
        yield [_Step(runs), _Step(middle, perm), _Step(after)]


def _is_shuffled_in_blocks(axes: list[Axis], axis: int, places: list[int]) -> bool:
    """True where a Gather is no slower: what it moves as one piece is not too short."""
    inner = product(lengths(axes[axis + 1 :]))
    return len(places) <= _MOST_PLACES and (inner.integer is None or inner.integer >= _SHORTEST)


def _inserting(
    steps: Steps, part: list[NodeView], start: Dims, facts: Facts
) -> Callable[[Editor], None] | None:
    """The edit; None where a Reshape's target cannot be said."""
    last = part[-1]
    dims, targets = start, []
    for step in steps:
        wanted = lengths(step.axes)
        if step.perm is None and step.shuffle is None:
            target = _target(dims, wanted, last, facts)
            if target is None:
                return None
            targets.append(target)
        dims = wanted
    source, result = part[0].inputs[0], last.outputs[0]
    assert source is not None
    assert result is not None

    def apply(edit: Editor) -> None:
        value, made = source, None
        pending = iter(targets)
        for step in steps:
            target = next(pending) if step.perm is None and step.shuffle is None else None
            made = _insert(edit, step, target, value, last)
            output = made.outputs[0]
            assert output is not None
            value = output
        if made is None:
            edit.replace(result, source)
        else:
            edit.adopt(made, 0, result)
        for node in reversed(part):
            edit.remove(node)

    return apply


def _insert(
    edit: Editor,
    step: _Step,
    target: list[int] | ValueView | None,
    value: ValueView,
    last: NodeView,
) -> NodeView:
    """Make one node in front of the last one."""
    name = next(output.name for output in last.outputs if output is not None)
    if step.perm is not None:
        return edit.insert("Transpose", [value], before=last, attributes={"perm": step.perm})
    if step.shuffle is not None:
        axis, places = step.shuffle
        indices = edit.constant(np.array(places, np.int64), f"{name}_indices", last.graph)
        return edit.insert("Gather", [value, indices], before=last, attributes={"axis": axis})
    attributes = {}
    if isinstance(target, list):
        target = edit.constant(np.array(target, np.int64), f"{name}_shape", last.graph)
    elif last.attribute("allowzero", 0):
        attributes = {"allowzero": 1}
    return edit.insert("Reshape", [value, target], before=last, attributes=attributes)


def _target(dims: Dims, wanted: Dims, last: NodeView, facts: Facts) -> list[int] | ValueView | None:
    """A constant target, or that of the last node."""
    found = reshape_target(list(wanted), dims, facts)
    if found is not None and last.graph.stores_initializers:
        return found
    own = last.inputs[1] if last.op_type == "Reshape" and len(last.inputs) > 1 else None
    content = facts.content(own)
    if own is not None and content is not None and content.ndim == 1:
        allowzero = bool(last.attribute("allowzero", 0))
        entries = list(content)
        if resolved(entries, dims, allowzero=allowzero, nonzero=facts.nonzero) == wanted:
            return own
    return found

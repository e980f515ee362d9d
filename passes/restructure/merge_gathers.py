"""Make one Split of Gathers that take a tensor apart, index by index.

Before: x -> Reshape([0, 16, 3, 2, 12]) -> Transpose([2, 0, 3, 1, 4]) -> Gather(0), (1), (2)
After:  x -> Reshape([0, 16, 6, 12]) -> Transpose([0, 2, 1, 3]) -> Split along axis 1

The axis that the Gathers drop is joined with the one behind it instead, so that each part has the
rank that its Gather gave. A Reshape or a Transpose that does nothing then is left out. Between
Transpose and Gathers a Squeeze may stand; Slices of one index, or the parts of a Split into them,
each with a Squeeze behind it, do what Gathers do.

Conditions: indices are constant, each is taken once; an axis follows the one they take apart;
nothing else reads what lies between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.passes.fuse._templates import (
    Copy,
    Entry,
    Open,
    Template,
    has_both,
    is_source,
    reshape_target,
    template_of,
)
from graphopt.passes.restructure._splits import split
from graphopt.passes.restructure._takers import Taker, dropped_axes, is_taken_apart, takers_of


@dataclass(frozen=True, slots=True)
class Chain:
    """A Reshape, what follows it, and what takes the last of them apart.

    Attributes:
        nodes: Reshape, and where they are there, Transpose, Squeeze, and a Split into the indices.
        takers: By index.
        order: The Reshape's axes in the order in which the takers find them.
        taken: The one that they take apart.
    """

    nodes: list[NodeView]
    takers: list[Taker]
    order: list[int]
    taken: int


@dataclass(frozen=True, slots=True)
class Found:
    """What stands in place of a chain.

    Attributes:
        target: For the Reshape, None where none is needed.
        perm: For the Transpose, None where none is needed.
        axis: Where the Split works.
    """

    chain: Chain
    target: list[int] | None
    perm: list[int] | None
    axis: int
    effect: Effect = field(default=Effect.IDENTICAL)


@dataclass(frozen=True)
class MergeGathers:
    """Replace Gathers of each index of an axis that a Reshape made by one Split.

    Fires on: ppocr_rec. Source: ONNX operators Gather, Slice, Squeeze, Reshape, opsets 5 to 25,
    Transpose, and Split, opsets 2 to 18.
    """

    name: ClassVar[str] = "merge_gathers"
    effect: ClassVar[Effect] = Effect.IDENTICAL
    roots: ClassVar[tuple[str, ...]] = ("Reshape",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one Reshape and at what follows it."""
        source = node.inputs[0]
        if graph.opset() < 5 or source is None or source.shape is None:
            return None
        nodes = _followed(node)
        if nodes is None:
            return None
        template = template_of(node)
        if template is None:
            return Skip("the target is not known")
        chain = _chain(nodes, template)
        if isinstance(chain, Skip):
            return chain
        found = _joined(chain, template, source)
        if found is None:
            return Skip("no axis follows that the taken one can be joined with")
        joined, perm, axis = found
        if is_source(joined, source.shape):
            return Found(chain, None, perm, axis)
        both = has_both(template, source.shape)
        target = reshape_target(joined, source.shape, copies_beside_open=both)
        return Skip("no target says it") if target is None else Found(chain, target, perm, axis)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Build the new chain before the former one; each Gather's result keeps its name."""
        chain = match.chain
        first, value = chain.nodes[0], chain.nodes[0].inputs[0]
        assert value is not None
        if match.target is not None:
            numbers = np.array(match.target, dtype=np.int64)
            shape = edit.constant(numbers, f"{value.name}_shape", first.graph)
            value = edit.insert("Reshape", [value, shape], before=first).outputs[0]
        if match.perm is not None:
            attributes = {"perm": match.perm}
            value = edit.insert("Transpose", [value], before=first, attributes=attributes).outputs[
                0
            ]
        assert value is not None
        equal = [1] * len(chain.takers)
        parts = split(edit, value, match.axis, equal, before=first)
        for index, taker in enumerate(chain.takers):
            edit.adopt(parts, index, taker.result)
            for node in reversed(taker.nodes):
                edit.remove(node)
        for node in reversed(chain.nodes):
            edit.remove(node)


def _followed(node: NodeView) -> list[NodeView] | None:
    """The Reshape, then Transpose and Squeeze where they follow; None unless takers do."""
    nodes = [node]
    for op_type in ("Transpose", "Squeeze"):
        value = nodes[-1].outputs[0]
        uses = value.readers if value is not None and not value.is_graph_output else ()
        if len(uses) != 1:
            break
        follower = uses[0].node
        if follower.op_type == op_type and not follower.is_opaque and follower.graph is node.graph:
            nodes.append(follower)
    value = nodes[-1].outputs[0]
    if value is None or value.is_graph_output:
        return None
    return nodes if is_taken_apart(value) else None


def _chain(nodes: list[NodeView], template: Template) -> Chain | Skip:
    order = list(range(len(template)))
    for node in nodes[1:]:
        if node.op_type == "Transpose":
            perm = node.attribute("perm", order[::-1])
            if sorted(perm) != sorted(order):
                return Skip("the perm does not fit")
            order = [order[axis] for axis in perm]
        else:
            dropped = dropped_axes(node, len(order))
            if dropped is None or any(template[order[axis]] != 1 for axis in dropped):
                return Skip("what Squeeze drops is not known")
            order = [axis for place, axis in enumerate(order) if place not in dropped]
    value = nodes[-1].outputs[0]
    assert value is not None
    found = takers_of(value, len(order))
    if found is None or len({taker.axis for taker in found[0]}) != 1:
        return Skip("something else reads it as well")
    takers, shared = found
    taken, count = order[takers[0].axis], len(takers)
    by_index = {taker.index % count: taker for taker in takers if -count <= taker.index < count}
    if template[taken] != count or len(by_index) < count:
        return Skip("not each index is taken once")
    ordered = [by_index[index] for index in range(count)]
    return Chain([*nodes, *shared], ordered, order, taken)


def _joined(
    chain: Chain, template: Template, source: ValueView
) -> tuple[Template, list[int] | None, int] | None:
    """The template with the taken axis joined to the next, the perm, and where the Split works."""
    kept = sorted(chain.order)
    place = kept.index(chain.taken) + 1
    if place == len(kept):
        return None
    other, count = kept[place], template[chain.taken]
    assert isinstance(count, int)
    product = _product(count, template[other], source)
    if product is None:
        return None
    kept.remove(chain.taken)
    joined = tuple(product if axis == other else template[axis] for axis in kept)
    perm = [kept.index(axis) for axis in chain.order if axis != chain.taken]
    axis = perm.index(kept.index(other))
    return joined, _unless_sorted(perm), axis


def _product(count: int, entry: Entry, source: ValueView) -> Entry | None:
    if isinstance(entry, Open):
        return entry
    assert source.shape is not None
    size = source.shape[entry.axis] if isinstance(entry, Copy) else entry
    return count * size if isinstance(size, int) and size > 0 else None


def _unless_sorted(perm: Sequence[int]) -> list[int] | None:
    return None if list(perm) == sorted(perm) else list(perm)

"""Move a Transpose up through elementwise arithmetic where it meets others that undo it.

Before: a -> T(p) -> Mul(c) -> Add(b -> T(p)) -> T(p undone) -> y
After:  a -> Mul(c rearranged) -> Add(b) -> y

The region above the Transpose is all elementwise arithmetic whose results nobody else reads. What
enters it through a Transpose that undoes this one enters directly; a constant is rearranged; what
else enters gets a Transpose of its own. Done only where fewer nodes remain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView

_EXACT = frozenset(
    {"Abs", "Add", "And", "Clip", "Div", "Equal", "Greater", "Less", "Mul", "Neg",
     "Not", "Or", "Relu", "Sub", "Where", "Xor"}
)  # fmt: skip
"""The same bits in whatever order the elements stand."""
_ROUNDED = frozenset(
    {"Cast", "Ceil", "Cos", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu",
     "Log", "Max", "Min", "Pow", "Reciprocal", "Sigmoid", "Sin", "Softplus", "Sqrt", "Tanh"}
)  # fmt: skip
"""Kernels that compute blocks and remainders in different ways may move the last bit."""
_MAX_BYTES = 1 << 20
"""Larger constants are not copied in another order."""
_MAX_REGION = 128
"""More nodes are not searched for one Transpose: a long chain would be, for each one in it."""


@dataclass(frozen=True, slots=True)
class Found:
    """A Transpose, and the region above it through which it can go.

    Attributes:
        region: Elementwise nodes, each behind those whose results it reads.
        undone: Values that enter the region, with what they were before they were transposed.
    """

    node: NodeView
    perm: list[int]
    region: list[NodeView]
    undone: dict[ValueView, ValueView]
    effect: Effect


@dataclass(slots=True)
class _Search:
    """The region as it grows."""

    perm: list[int]
    region: dict[NodeView, None] = field(default_factory=dict)
    undone: dict[ValueView, ValueView] = field(default_factory=dict)
    entering: dict[ValueView, None] = field(default_factory=dict)


@dataclass(frozen=True)
class HoistTransposes:
    """Move Transposes up through elementwise nodes until they cancel.

    Fires on synthetic graphs only among the catalogue's models. Source: a permutation of axes
    commutes with elementwise operators; ONNX operator Transpose, opsets 1 to 25.
    """

    name: ClassVar[str] = "hoist_transposes"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ("Transpose",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one Transpose, and at what stands above it."""
        above, perm = node.inputs[0], node.attribute("perm")
        if above is None or perm is None or node.outputs[0] is None or graph.opset() < 7:
            return None
        if not _joins(above, node, {}):
            return None
        search = _Search(list(perm))
        refused = _explore(search, above, node)
        if refused:
            return refused
        dying = sum(
            all(use.node in search.region for use in value.readers) and not value.is_graph_output
            for value in search.undone
        )
        if 1 + dying <= len(search.entering) + _constant_nodes(search, graph):
            return Skip("no fewer nodes would remain")
        exact = all(inner.op_type in _EXACT for inner in search.region)
        effect = Effect.IDENTICAL if exact else Effect.ROUNDING
        ordered = _in_order(above.producer, search.region)
        return Found(node, search.perm, ordered, search.undone, effect)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Build the region anew on rearranged inputs; remove the former one."""
        new: dict[ValueView, ValueView] = dict(match.undone)
        made: NodeView | None = None
        for inner in match.region:
            inputs = [v and (new.get(v) or _entered(v, match, new, edit)) for v in inner.inputs]
            made = edit.insert(
                inner.op_type, inputs, before=match.node, attributes=inner.attributes
            )
            result, output = inner.outputs[0], made.outputs[0]
            assert result is not None
            assert output is not None
            new[result] = output
        target = match.node.outputs[0]
        assert made is not None
        assert target is not None
        edit.adopt(made, 0, target)
        edit.remove(match.node)
        for inner in reversed(match.region):
            edit.remove(inner)
        for value in match.undone:
            producer = value.producer
            if producer is not None and not value.readers and not value.is_graph_output:
                edit.remove(producer)


def _joins(value: ValueView, below: NodeView, region: dict[NodeView, None]) -> bool:
    """Tell whether the node that makes `value` can belong to the region."""
    producer = value.producer
    if producer is None or producer.is_opaque or producer.graph is not below.graph:
        return False
    if producer.op_type not in _EXACT | _ROUNDED or value.is_graph_output or value.is_constant:
        return False
    return all(use.node is below or use.node in region for use in value.readers)


def _explore(search: _Search, value: ValueView, below: NodeView) -> Skip | None:
    """Take the producer of `value` into the region, then what stands above it."""
    rank = len(search.perm)
    pending = [value]
    while pending or _late(search, pending, below):
        node = pending.pop().producer
        assert node is not None
        search.region[node] = None
        if len(search.region) > _MAX_REGION:
            return Skip("too many nodes stand above it")
        for operand in node.inputs:
            if operand is None or (operand.producer in search.region and not operand.is_constant):
                continue
            if operand.is_constant:
                if (operand.nbytes or 0) > _MAX_BYTES or len(operand.shape or ()) > rank:
                    return Skip("a constant operand is too large to rearrange")
            elif operand.shape is None or len(operand.shape) != rank:
                return Skip("an operand has another rank, or an unknown one")
            elif _joins(operand, node, search.region):
                pending.append(operand)
            else:
                _enter(search, operand)
    return None


def _in_order(end: NodeView | None, region: dict[NodeView, None]) -> list[NodeView]:
    """The region's nodes, each behind those whose results it reads."""
    found: dict[NodeView, None] = {}
    pending = [end]
    while pending:
        node = pending[-1]
        makers = [value.producer for value in node.inputs if value is not None] if node else []
        missing = [maker for maker in makers if maker in region and maker not in found]
        if node is not None and not missing:
            found[node] = None
        if missing:
            pending += reversed(missing)
        else:
            pending.pop()
    return list(found)


def _late(search: _Search, pending: list[ValueView], below: NodeView) -> bool:
    """Let what entered from outside join, now that all of its readers belong to the region."""
    joining = [value for value in search.entering if _joins(value, below, search.region)]
    for value in joining:
        del search.entering[value]
    pending += joining
    return bool(joining)


def _constant_nodes(search: _Search, graph: GraphView) -> int:
    """Constant nodes that rearranging adds where the graph stores no initializers."""
    if graph.stores_initializers:
        return 0
    operands = {value for node in search.region for value in node.inputs if value is not None}
    return sum(
        value.is_constant
        and bool(value.shape)
        and any(use.node not in search.region for use in value.readers)
        for value in operands
    )


def _enter(search: _Search, operand: ValueView) -> None:
    producer = operand.producer
    undoing = list(np.argsort(search.perm))
    if (
        producer is not None
        and producer.op_type == "Transpose"
        and not producer.is_opaque
        and producer.attribute("perm") == undoing
        and producer.inputs[0] is not None
        and (operand.is_graph_output or operand.replaceable_by(producer.inputs[0]) is None)
    ):
        search.undone[operand] = producer.inputs[0]
    else:
        search.entering[operand] = None


def _entered(
    value: ValueView, match: Found, new: dict[ValueView, ValueView], edit: Editor
) -> ValueView:
    """What the region reads in place of `value`: a rearranged constant, or a Transpose of it."""
    if value.is_constant:
        array = value.array()
        if array.ndim == 0 or array.size == 1:
            return value
        wide = array.reshape([1] * (len(match.perm) - array.ndim) + list(array.shape))
        moved = np.asarray(wide.transpose(match.perm), order="C")
        found = edit.constant(moved, f"{value.name}_transposed", match.node.graph)
    else:
        made = edit.insert(
            "Transpose", [value], before=match.node, attributes={"perm": match.perm}
        ).outputs[0]
        assert made is not None
        found = made
    new[value] = found
    return found

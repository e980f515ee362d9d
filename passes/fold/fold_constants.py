"""Evaluate nodes whose inputs are all constants, and turn Constant nodes into initializers.

Before: c1, c2 -> Add -> a -> Neg -> y        After: y is an initializer

Never folded: random operators; operators with bodies, sequences or optionals; quantization
operators, and Cast of 8-bit codes that scales multiply, whose constants are the stored form of a
weight; initializers that callers may override. Bounded: a set of nodes that hang together is folded
where it adds at most `max_growth_bytes` to the model, so that a small file does not unfold; where
the whole set adds more, those of its results that are small are folded all the same. No tensor
above `max_bytes` is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from graphopt.contract import (
    RANDOM_OPERATORS,
    Array,
    Context,
    Editor,
    Effect,
    GraphView,
    NodeView,
    Rewrite,
    Skip,
    Use,
    ValueView,
)
from graphopt.passes._operations import may_be_constant
from graphopt.passes.fold._cones import LINKING_BYTES, Cone, find_cones

_NEVER = RANDOM_OPERATORS | frozenset(
    {"Dropout", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
     "ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement", "SequenceAt",
     "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
     "SplitToSequence", "Constant"}
)  # fmt: skip
"""Random operators; those whose constant operands are the stored form of a weight; sequences."""
_EXACT = frozenset(
    {"Abs", "Cast", "CastLike", "Clip", "Compress", "Concat", "ConstantOfShape", "DepthToSpace",
     "Expand", "EyeLike", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Max",
     "Min", "Neg", "OneHot", "Pad", "Relu", "Reshape", "ScatterElements", "ScatterND", "Sign",
     "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze",
     "Where"}
)  # fmt: skip
"""Operators that move or select values: the same bits on every machine."""


_STUCK = Skip("an operand could not be evaluated")


@dataclass(slots=True)
class _Evaluated:
    """Results of a cone's nodes so far, and what stopped the others."""

    arrays: dict[ValueView, Array] = field(default_factory=dict)
    exact: dict[NodeView, bool] = field(default_factory=dict)
    refused: dict[NodeView, Skip] = field(default_factory=dict)


@dataclass(frozen=True)
class FoldConstants:
    """Evaluate what does not depend on any input.

    Fires on: silero_vad, ppocr_rec. Source: constant folding and propagation.

    Attributes:
        max_growth_bytes: Bytes that a set of folded nodes may add to the model.
        max_bytes: Results and operands above so many bytes are left alone.
    """

    name: ClassVar[str] = "fold_constants"
    effect: ClassVar[Effect] = Effect.ROUNDING

    max_growth_bytes: int = 16384
    max_bytes: int = 1 << 28

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Go through every graph, outermost first: what is folded there feeds the bodies."""
        scopes = graph.nested()
        for cone in find_cones(scopes, _operands, _size):
            yield from self._cone(cone, scopes, context)
        for scope in scopes:
            for node in scope.nodes:
                plain = node.op_type == "Constant" and not node.is_opaque
                step = self._constant(node) if plain else None
                if step is not None:
                    yield step

    def _constant(self, node: NodeView) -> Rewrite | None:
        """A Constant node becomes an initializer where the graph stores such."""
        output = node.outputs[0]
        if output is None or not output.is_constant or output.is_graph_output:
            return None
        if not node.graph.stores_initializers or (output.nbytes or 0) > self.max_bytes:
            return None
        arrays = {output: output.array()}
        folding = _folding(node, arrays, set(), node.graph)
        return Rewrite(output.label(), Effect.IDENTICAL, folding)

    def _cone(
        self, cone: Cone, scopes: Sequence[GraphView], context: Context
    ) -> Iterable[Rewrite | Skip]:
        """Evaluate first, decide then, edit last: nothing is stored that nobody reads."""
        whole = cone.growth <= self.max_growth_bytes
        ends = [n for n, added in cone.added.items() if whole or added <= self.max_growth_bytes]
        found = self._evaluate(cone.needed_for(ends), context)
        if found.refused:
            # What was to free more than it adds got stuck: each result has to pass by itself.
            ends = [n for n in found.exact if _is_read_outside(n, found)]
            ends = [n for n in ends if self._size_of(n, found) <= self.max_growth_bytes]
        if len(ends) < len(cone.added) and not found.refused:
            yield Skip("result is larger than what it is made of")
        yield from found.refused.values()
        members = set(cone.nodes)
        for node in ends:
            if node in found.exact and any(v is not None and v.readers for v in node.outputs):
                effect = Effect.IDENTICAL if found.exact[node] else Effect.ROUNDING
                root = next(value.label() for value in node.outputs if value is not None)
                home = _home(cone.needed_for([node]), scopes) or node.graph
                yield Rewrite(root, effect, _folding(node, found.arrays, members, home))

    def _evaluate(self, nodes: list[NodeView], context: Context) -> _Evaluated:
        found = _Evaluated()
        total = 0
        for node in nodes:
            operands = [self._operand(node, index, found) for index in range(len(node.inputs))]
            stuck = next((item for item in operands if isinstance(item, Skip)), None)
            arrays = [item for item in operands if not isinstance(item, Skip)]
            results = stuck or context.evaluate_node(node, arrays)
            if isinstance(results, Skip):
                if results is not _STUCK:
                    found.refused[node] = results
                continue
            total += sum(array.nbytes for array in results)
            if total > self.max_bytes:
                found.refused[node] = Skip("results are too large")
                return found
            outputs = [value for value in node.outputs if value is not None]
            found.arrays.update(zip(outputs, results, strict=True))
            exact = node.op_type in _EXACT or all(array.dtype.kind in "biuO" for array in results)
            found.exact[node] = exact and all(
                found.exact.get(value.producer, True)
                for value in node.inputs
                if value is not None and value.producer is not None
            )
        return found

    def _operand(self, node: NodeView, index: int, found: _Evaluated) -> Array | Skip | None:
        value = node.inputs[index]
        if value is None:
            return None
        if _type_only(node, index):
            return np.zeros((), value.dtype)
        if value in found.arrays:
            return found.arrays[value]
        if not value.is_constant:
            return _STUCK
        if (value.nbytes or 0) > self.max_bytes:
            return Skip("operands are too large")
        return value.array()

    @staticmethod
    def _size_of(node: NodeView, found: _Evaluated) -> int:
        return sum(found.arrays[v].nbytes for v in node.outputs if v in found.arrays)


def _is_read_outside(node: NodeView, found: _Evaluated) -> bool:
    """True when a node that was not evaluated reads what this one makes."""
    return any(
        use.node not in found.exact
        for value in node.outputs
        if value is not None
        for use in value.readers
    )


def _operands(node: NodeView) -> list[ValueView] | None:
    """The values whose content a node needs; None for what is never folded."""
    if node.op_type in _NEVER or node.bodies or node.is_opaque or _restores_a_weight(node):
        return None
    outputs = [value for value in node.outputs if value is not None]
    if any(value.is_graph_output or not may_be_constant(value) for value in outputs):
        return None
    found = [v for i, v in enumerate(node.inputs) if v is not None and not _type_only(node, i)]
    return list(dict.fromkeys(found)) if outputs else None


def _restores_a_weight(node: NodeView) -> bool:
    """True for the Cast of 8-bit codes that constant scales multiply: a stored form, too."""
    if node.op_type != "Cast" or node.inputs[0] is None or node.inputs[0].dtype != np.int8:
        return False
    uses = [use for value in node.outputs if value is not None for use in value.readers]
    return bool(uses) and all(use.node.op_type == "Mul" and _is_scaled(use) for use in uses)


def _is_scaled(use: Use) -> bool:
    other = use.node.inputs[1 - use.index]
    return other is not None and other.is_constant


def _type_only(node: NodeView, index: int) -> bool:
    """True for the input of CastLike that lends its type and not its values."""
    value = node.inputs[index]
    return node.op_type == "CastLike" and index == 1 and bool(value and value.dtype is not None)


def _size(value: ValueView) -> int | None:
    if value.shape is None or value.dtype is None:
        return None
    count = 1
    for dim in value.shape:
        if not isinstance(dim, int):
            return None
        count *= dim
    return count * value.dtype.itemsize


def _home(nodes: Sequence[NodeView], scopes: Sequence[GraphView]) -> GraphView | None:
    """The innermost graph that stores the large constants the nodes are made of.

    There, equal results of sibling bodies can meet; results of small constants stay where they are.
    """
    constants = [v for node in nodes for v in node.inputs if v is not None and v.is_constant]
    graphs = {value.graph for value in constants if (value.nbytes or 0) >= LINKING_BYTES}
    found = [scope for scope in scopes if scope in graphs]
    return found[-1] if found and found[-1].stores_initializers else None


def _folding(
    node: NodeView, arrays: dict[ValueView, Array], members: set[NodeView], home: GraphView
) -> Callable[[Editor], None]:
    def fold(edit: Editor) -> None:
        for value in node.outputs:
            if value is not None and value.readers:
                constant = edit.constant(np.asarray(arrays[value]), value.name, home)
                edit.replace(value, constant)
        _remove_unread(node, members, edit)

    return fold


def _remove_unread(node: NodeView, members: set[NodeView], edit: Editor) -> None:
    """Remove a node that nobody reads any more, and those of its cone that fed it alone."""
    pending = [node]
    while pending:
        current = pending.pop()
        if not current.outputs:
            continue  # gone already: it fed two nodes
        if any(v is not None and (v.readers or v.is_graph_output) for v in current.outputs):
            continue
        sources = [v.producer for v in current.inputs if v is not None and v.producer is not None]
        edit.remove(current)
        pending += [source for source in dict.fromkeys(sources) if source in members]

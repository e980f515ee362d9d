"""Evaluate nodes whose inputs are all constants, and turn Constant nodes into initializers.

Before: c1, c2 -> Add -> y        After: y is an initializer

Never folded: random operators; operators with bodies, sequences or optionals; quantization
operators, whose constants are the stored form; initializers that callers may override. Bounded: a
result may be larger than the constants it is made of by `max_growth_bytes` at most, so that a small
file does not unfold, and no tensor above `max_bytes` is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.contract import (
    Array,
    Context,
    Editor,
    Effect,
    GraphView,
    NodeView,
    Rewrite,
    Skip,
    ValueView,
)
from graphopt.passes.fold._cones import find_cones, in_small_cones

_NEVER = frozenset(
    {"Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
     "RandomUniformLike", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
     "Constant"}
)  # fmt: skip
"""Random operators, and those whose constant operands are the stored form of a weight."""
_GROWING = frozenset(
    {"ConstantOfShape", "Expand", "EyeLike", "Gather", "GatherND", "OneHot", "Pad", "Range",
     "Resize", "Tile", "Upsample"}
)  # fmt: skip
"""Operators whose result may be larger than what they read; its size must be known beforehand."""
_EXACT = frozenset(
    {"Abs", "Cast", "CastLike", "Clip", "Compress", "Concat", "Constant", "ConstantOfShape",
     "DepthToSpace", "Expand", "EyeLike", "Flatten", "Gather", "GatherElements", "GatherND",
     "Identity", "Max", "Min", "Neg", "OneHot", "Pad", "Relu", "Reshape", "ScatterElements",
     "ScatterND", "Sign", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose",
     "Trilu", "Unsqueeze", "Where"}
)  # fmt: skip
"""Operators that move or select values: the same bits on every machine."""


@dataclass(frozen=True)
class FoldConstants:
    """Evaluate what does not depend on any input.

    Fires on: silero_vad, ppocr_rec. Source: constant folding and propagation.

    Attributes:
        max_growth_bytes: Bytes by which a result may exceed the constants it is made of.
        max_bytes: Results and operands above so many bytes are left alone.
    """

    name: ClassVar[str] = "fold_constants"
    effect: ClassVar[Effect] = Effect.ROUNDING

    max_growth_bytes: int = 16384
    max_bytes: int = 1 << 28

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Go through every graph in order: what is folded feeds what follows."""
        for scope in graph.nested():
            cheap = in_small_cones(find_cones(scope, self._operands, _size), self.max_growth_bytes)
            for node in scope.nodes:
                step: Rewrite | Skip | None
                if node.op_type == "Constant":
                    step = self._constant(node)
                else:
                    step = self._node(node, context, cheap=node in cheap)
                if step is not None:
                    yield step

    def _constant(self, node: NodeView) -> Rewrite | None:
        """A Constant node becomes an initializer where the graph stores such."""
        output = node.outputs[0]
        if output is None or not output.is_constant or output.is_graph_output:
            return None
        if not node.graph.stores_initializers or (output.nbytes or 0) > self.max_bytes:
            return None
        return Rewrite(output.name, Effect.IDENTICAL, _replacing(node, [output.array()]))

    def _node(self, node: NodeView, context: Context, *, cheap: bool) -> Rewrite | Skip | None:
        operands = _content(node)
        if operands is None or not all(value.is_constant for value in operands):
            return None
        outputs = [value for value in node.outputs if value is not None]
        refused = self._refusal(node, operands, outputs, cheap=cheap)
        if refused:
            return refused
        results = context.evaluate_node(node, [_operand(node, i) for i in range(len(node.inputs))])
        if isinstance(results, Skip):
            return results
        if self._grows(sum(array.nbytes for array in results), node, operands, cheap=cheap):
            return Skip("result is larger than what it is made of")
        exact = node.op_type in _EXACT or all(array.dtype.kind in "biuO" for array in results)
        effect = Effect.IDENTICAL if exact else Effect.ROUNDING
        return Rewrite(outputs[0].name, effect, _replacing(node, results))

    def _operands(self, node: NodeView) -> Sequence[ValueView] | None:
        """What a node is made of, None where it would be refused whatever its operands are."""
        operands = _content(node)
        outputs = [value for value in node.outputs if value is not None]
        if operands is None or any(value.is_graph_output for value in outputs):
            return None
        sizes = [_size(value) for value in outputs]
        if node.op_type in _GROWING and None in sizes:
            return None
        return None if sum(size or 0 for size in sizes) > self.max_bytes else operands

    def _refusal(
        self,
        node: NodeView,
        operands: Sequence[ValueView],
        outputs: Sequence[ValueView],
        *,
        cheap: bool,
    ) -> Skip | None:
        if any(value.is_graph_output for value in outputs):
            return Skip("result is a graph output")
        if sum(value.nbytes or 0 for value in operands) > self.max_bytes:
            return Skip("operands are too large")
        sizes = [_size(value) for value in outputs]
        if node.op_type in _GROWING and None in sizes:
            return Skip("size of the result is not known")
        if self._grows(sum(size or 0 for size in sizes), node, operands, cheap=cheap):
            return Skip("result is larger than what it is made of")
        return None

    def _grows(
        self, size: int, node: NodeView, operands: Sequence[ValueView], *, cheap: bool
    ) -> bool:
        """Whether the model would grow: constants that others read too do not go away."""
        if size > self.max_bytes:
            return True
        freed = sum(v.nbytes or 0 for v in operands if all(u.node is node for u in v.readers))
        return not cheap and size > freed + self.max_growth_bytes


def _content(node: NodeView) -> list[ValueView] | None:
    """The values whose content a node needs; None for what is never folded."""
    if node.is_opaque or node.bodies or node.op_type in _NEVER:
        return None
    operands = [v for i, v in enumerate(node.inputs) if v is not None and not _type_only(node, i)]
    return operands if operands and any(v is not None for v in node.outputs) else None


def _type_only(node: NodeView, index: int) -> bool:
    """True for the input of CastLike that lends its type and not its values."""
    value = node.inputs[index]
    return node.op_type == "CastLike" and index == 1 and bool(value and value.dtype is not None)


def _operand(node: NodeView, index: int) -> Array | None:
    value = node.inputs[index]
    if value is None:
        return None
    if _type_only(node, index):
        return np.zeros((), value.dtype)
    return value.array()


def _size(value: ValueView) -> int | None:
    if value.shape is None or value.dtype is None:
        return None
    count = 1
    for dim in value.shape:
        if not isinstance(dim, int):
            return None
        count *= dim
    return count * value.dtype.itemsize


def _replacing(node: NodeView, results: Sequence[Array]) -> Callable[[Editor], None]:
    def replace(edit: Editor) -> None:
        outputs = [value for value in node.outputs if value is not None]
        for value, array in zip(outputs, results, strict=True):
            constant = edit.constant(np.asarray(array), value.name, node.graph)
            if value.readers:
                edit.replace(value, constant)
        edit.remove(node)

    return replace

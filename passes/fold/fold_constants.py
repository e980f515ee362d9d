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

_RANDOM = frozenset(
    {
        "Bernoulli",
        "Dropout",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
_STORED_FORM = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
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

    Fires on: silero_vad, magika. Source: constant folding and propagation.

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
            for node in scope.nodes:
                step: Rewrite | Skip | None
                if node.op_type == "Constant":
                    step = self._constant(node)
                else:
                    step = self._node(node, context)
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

    def _node(self, node: NodeView, context: Context) -> Rewrite | Skip | None:
        if node.is_opaque or node.bodies or node.op_type in _RANDOM | _STORED_FORM:
            return None
        inputs = [v for i, v in enumerate(node.inputs) if v is not None and not _type_only(node, i)]
        outputs = [value for value in node.outputs if value is not None]
        if not inputs or not outputs or not all(value.is_constant for value in inputs):
            return None
        refused = self._refusal(node, inputs, outputs)
        if refused:
            return refused
        results = context.evaluate_node(node, [_operand(node, i) for i in range(len(node.inputs))])
        if isinstance(results, Skip):
            return results
        if self._grows(sum(array.nbytes for array in results), node, inputs):
            return Skip("result is larger than what it is made of")
        exact = node.op_type in _EXACT or all(array.dtype.kind in "biuO" for array in results)
        effect = Effect.IDENTICAL if exact else Effect.ROUNDING
        return Rewrite(outputs[0].name, effect, _replacing(node, results))

    def _refusal(
        self, node: NodeView, inputs: Sequence[ValueView], outputs: Sequence[ValueView]
    ) -> Skip | None:
        if any(value.is_graph_output for value in outputs):
            return Skip("result is a graph output")
        if sum(value.nbytes or 0 for value in inputs) > self.max_bytes:
            return Skip("operands are too large")
        sizes = [_size(value) for value in outputs]
        if node.op_type in _GROWING and None in sizes:
            return Skip("size of the result is not known")
        if self._grows(sum(size for size in sizes if size is not None), node, inputs):
            return Skip("result is larger than what it is made of")
        return None

    def _grows(self, size: int, node: NodeView, inputs: Sequence[ValueView]) -> bool:
        """Whether the model would grow: constants that others read too do not go away."""
        freed = sum(v.nbytes or 0 for v in inputs if all(use.node is node for use in v.readers))
        return size > freed + self.max_growth_bytes or size > self.max_bytes


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

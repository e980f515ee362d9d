"""Store constant floating-point weights in 8 bits.

Before: w -> MatMul              After: w_q -> Cast -> Mul(scales) -> MatMul

or, where runs of elements within an axis share a scale:

Before: w -> MatMul              After: w_q -> Cast -> Mul(scales) -> Reshape -> MatMul

Codes go from -127 to 127 and there is no zero point, so zeros stay zero. ONNX Runtime folds the new
nodes when it loads the model, so that it runs as fast as before on the very values that are stored.

Each weight has scales along one axis, and along another as many as they are worth: all weights
share a budget of one scale for `elements_per_scale` elements, spent where each byte saves the most
noise. One form serves all readers, and stands where the weight was stored.

Left alone: vectors (a scale each would save nothing, and a bias has little to spare), weights below
`min_elements`, graph outputs, initializers that callers may override, values that are not finite,
constants that some reader needs exactly, weights that would take as many bytes as before. Opsets
below 7 have no Mul that broadcasts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Rewrite, Skip, ValueView
from graphopt.passes.quantize._codes import quantize
from graphopt.passes.quantize._layouts import Layout, Option, options, share_out
from graphopt.passes.quantize._readers import contracted, is_last, is_scale, refusal

_ELEMENT_TYPES = {np.dtype(np.float32): 1, np.dtype(np.float16): 10, np.dtype(np.float64): 11}
"""What Cast can be told to make, by dtype: the numbers of onnx.TensorProto."""
_FIRST_OPSET = 7
"""Mul broadcasts from here on; Cast takes int8 and Reshape a shape as input since before."""
_BITS = 8
_HINT = "q"
"""New names but the codes' come of it: each stands in the file twice or more."""


@dataclass(frozen=True)
class QuantizeWeights:
    """Store weights as 8-bit integers with scales.

    Fires on: lenet_5, silero_vad, ppocr_rec. Source: symmetric uniform quantization; the shifted
    rounding after SQuant (arXiv 2202.07471); ONNX operators Cast, Mul and Reshape.

    Attributes:
        bits: Bits of a code; 8 is the only choice today.
        min_elements: Weights with fewer elements are left alone.
        min_last_elements: The same for weights of the last layer, whose errors reach the outputs
            as they are; where it is no larger than `min_elements`, they are like any other.
        elements_per_scale: Elements that share a scale, on average over all weights; the result
            takes one byte an element and, for float32, 4 / elements_per_scale more.
        axis: The axis whose every index has scales of its own; "auto" chooses for each weight.
    """

    name: ClassVar[str] = "quantize_weights"
    effect: ClassVar[Effect] = Effect.LOSSY

    bits: int = _BITS
    min_elements: int = 16384
    min_last_elements: int = 1
    elements_per_scale: int = 100
    axis: int | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        """Refuse what the pass cannot do.

        Raises:
            ValueError: Another number of bits than 8, or a count below 1.
        """
        if self.bits != _BITS:
            raise ValueError(f"bits = {self.bits}; only 8 can be had")
        for name in ("min_elements", "min_last_elements", "elements_per_scale"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} is not a whole number from 1 on")

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Look at every weight, share out the scales, then quantize one weight after the other."""
        weights: list[ValueView] = []
        ladders: list[list[Option]] = []
        for scope in graph.nested():
            for value in _constants(scope):
                found = self._options(value)
                if isinstance(found, Skip):
                    yield found
                elif found is not None:
                    weights.append(value)
                    ladders.append(found)
        budget = sum(weight.nbytes or 0 for weight in weights) // self.elements_per_scale
        anchors = _Anchors(graph)
        for weight, option in zip(weights, share_out(ladders, budget), strict=True):
            if _stored_bytes(weight, option) < (weight.nbytes or 0):
                step = _storing(weight, option.layout, anchors.before(weight))
                yield Rewrite(weight.label(), Effect.LOSSY, step)
            else:
                yield Skip("codes and scales would take as many bytes")

    def _options(self, value: ValueView) -> list[Option] | Skip | None:
        """The layouts to choose from; None for what is no weight at all."""
        dtype, shape = _type(value)
        long = [axis for axis, size in enumerate(shape) if size > 1]
        if not value.readers or len(long) < 2 or any(map(is_scale, value.readers)):
            return None
        if dtype not in _ELEMENT_TYPES:
            floating = dtype.name.startswith(("bfloat", "float"))
            return Skip(f"its type is {dtype.name}") if floating else None
        refused = self._refusal(value, math.prod(shape)) or refusal(value)
        if refused:
            return refused
        axes = long if self.axis == "auto" else [_counted(self.axis, len(shape))]
        if axes[0] not in long:
            return Skip(f"there is nothing along axis {self.axis}")
        array = value.array()
        if not (np.isfinite(array.max()) and np.isfinite(array.min())):
            return Skip("its values are not finite")
        return options(array, axes)

    def _refusal(self, value: ValueView, elements: int) -> Skip | None:
        if elements < self.min_elements:
            return Skip(f"it has fewer than {self.min_elements} elements")
        if elements < self.min_last_elements and is_last(value):
            return Skip(f"it is of the last layer, below {self.min_last_elements} elements")
        if value.graph.opset() < _FIRST_OPSET:
            return Skip(f"Mul does not broadcast before opset {_FIRST_OPSET}")
        if value.producer is not None and value.producer.is_opaque:
            return Skip("a node that is left alone holds it")
        return None


def _constants(scope: GraphView) -> Iterable[ValueView]:
    yield from scope.initializers
    for node in scope.nodes:
        value = node.outputs[0] if node.op_type == "Constant" and node.outputs else None
        if value is not None and value.is_constant:
            yield value


def _type(value: ValueView) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Dtype and shape of a constant; inference does not reach those of functions."""
    if value.dtype is None or value.shape is None:
        array = value.array()
        return array.dtype, array.shape
    return value.dtype, tuple(size for size in value.shape if isinstance(size, int))


def _counted(axis: int, rank: int) -> int:
    """An axis counted from the first one."""
    return axis + rank if axis < 0 else axis


def _stored_bytes(weight: ValueView, option: Option) -> int:
    """Bytes that take the weight's place, with what nodes, tensors and their names take."""
    return math.prod(option.layout.shape) + option.nbytes + 12 * (len(weight.name) + 20)


class _Anchors:
    """Where the nodes that restore a weight can stand."""

    def __init__(self, graph: GraphView) -> None:
        self._owner: dict[GraphView, NodeView] = {}
        self._position: dict[NodeView, int] = {}
        for scope in graph.nested():
            for position, node in enumerate(scope.nodes):
                self._position[node] = position
                self._owner.update(dict.fromkeys(node.bodies.values(), node))

    def before(self, weight: ValueView) -> NodeView:
        """The first node of the weight's own graph that reads it, itself or in a body."""
        found = [self._outermost(use.node, weight.graph) for use in weight.readers]
        return min(found, key=self._position.__getitem__)

    def _outermost(self, node: NodeView, graph: GraphView) -> NodeView:
        while node.graph is not graph:
            node = self._owner[node.graph]
        return node


def _storing(weight: ValueView, layout: Layout, anchor: NodeView) -> Callable[[Editor], None]:
    def store(edit: Editor) -> None:
        graph = weight.graph
        made = quantize(weight.array(), layout, contracted(weight, len(layout.shape)))
        codes = edit.constant(made.codes, f"{weight.name}_q", graph)
        scales = edit.constant(made.scales, f"{_HINT}_s", graph)
        to = {"to": _ELEMENT_TYPES[made.scales.dtype]}
        cast = edit.insert("Cast", [codes], before=anchor, attributes=to, hint=_HINT)
        last = edit.insert("Mul", [cast.outputs[0], scales], before=anchor, hint=_HINT)
        if layout.is_split:
            shape = edit.constant(np.array(layout.shape, np.int64), f"{_HINT}_shape", graph)
            last = edit.insert("Reshape", [last.outputs[0], shape], before=anchor, hint=_HINT)
        restored, producer = last.outputs[0], weight.producer
        assert restored is not None
        edit.replace(weight, restored)
        if producer is None:
            edit.remove_initializer(weight)
        else:
            edit.remove(producer)

    return store

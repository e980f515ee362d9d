"""What stands around a factor: a formula that ONNX Runtime has a kernel for, or a jump.

Source: ONNX Runtime 1.31, graph transformers GeluFusion, FastGeluFusion,
SimplifiedLayerNormFusion, LayerNormFusion and AttentionFusion.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphopt.contract import NodeView, ValueView


def is_recognised(source: ValueView, target: ValueView) -> bool:
    """Tell whether a factor on `source`, giving `target`, is part of a known formula."""
    node = source.producer
    if node is None:
        return False
    return _is_gelu(node) or _is_normalized(node) or _is_score(node, target)


def _makers(node: NodeView, *op_types: str) -> Iterator[NodeView]:
    """The nodes of these operators that write what `node` reads."""
    for value in node.inputs:
        producer = None if value is None else value.producer
        if producer is not None and producer.op_type in op_types:
            yield producer


def _is_gelu(node: NodeView) -> bool:
    """Of the form x * (1 + erf(...)), or with tanh: 0.5 follows."""
    return node.op_type == "Mul" and any(
        True for add in _makers(node, "Add") for _ in _makers(add, "Erf", "Tanh")
    )


def _is_normalized(node: NodeView) -> bool:
    """Of the form x / sqrt(...), or x * (1 / sqrt(...)): a scale follows."""
    divides = [node] if node.op_type == "Div" else []
    if node.op_type == "Mul":
        divides = list(_makers(node, "Div"))
    return any(True for divide in divides for _ in _makers(divide, "Sqrt"))


def _is_score(node: NodeView, target: ValueView) -> bool:
    """Product of two activations; a factor, a mask and Softmax follow."""
    if node.op_type != "MatMul" or any(v is None or v.is_constant for v in node.inputs):
        return False
    masks = [use.node for use in target.readers]
    if len(masks) != 1 or masks[0].op_type != "Add" or masks[0].outputs[0] is None:
        return False
    return [use.node.op_type for use in masks[0].outputs[0].readers] == ["Softmax"]


_JUMPING = frozenset(
    {"Ceil", "Equal", "Floor", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Mod",
     "QuantizeLinear", "Round", "Sign"}
)  # fmt: skip
_MOVING = frozenset(
    {"Abs", "Add", "Clip", "Max", "Min", "Neg", "Reshape", "Squeeze", "Sub", "Transpose",
     "Unsqueeze"}
)  # fmt: skip


def is_cut(value: ValueView, depth: int = 3) -> bool:
    """Tell whether close behind a value a small change can become a large one."""
    for use in value.readers:
        node, result = use.node, use.node.outputs[0] if use.node.outputs else None
        if node.op_type in _JUMPING:
            return True
        floats = result is None or result.dtype is None or result.dtype.kind not in "iub"
        if node.op_type == "Cast" and not floats:
            return True
        if depth and node.op_type in _MOVING and result is not None and is_cut(result, depth - 1):
            return True
    return False

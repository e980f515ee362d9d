"""Who reads a constant: whether its values may be rounded, and along which axes they are added up.

An operator is listed where rounding an operand moves its result a little. What is not listed reads
its constants exactly: sizes, bounds and scales (Resize, Clip, Pad, Range, QuantizeLinear), numbers
that others are divided by, raised to or compared with, statistics and weights of normalisations
(a variance near zero), and whatever came after this table was written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphopt.contract import NodeView, Skip, Use, ValueView

_DATA: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("Add", "Mul", "Sub", "PRelu", "MatMul"), (0, 1)),
    **dict.fromkeys(("Conv", "ConvTranspose", "DeformConv"), (0, 1, 2)),
    **dict.fromkeys(("Gemm", "GRU", "LSTM", "RNN"), (0, 1, 2)),
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "Div", "Shape", "Size"), (0,)),
    "Where": (1, 2),
}  # fmt: skip
"""Operands that are data, by operator; not the divisor of Div, which must not become zero."""
_ALL_DATA = frozenset({"Einsum", "Max", "Mean", "Min", "Sum"})
_MOVED: dict[str, tuple[int, ...]] = dict.fromkeys(
    ("Cast", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile",
     "Transpose", "Unsqueeze"),
    (0,),
)  # fmt: skip
"""Operators that hand values on: what counts is who reads them next."""
_FLOATS = (1, 10, 11, 16)
"""What Cast may make of a weight: float32, float16, float64, bfloat16 of onnx.TensorProto."""
_DEPTH = 8


def refusal(weight: ValueView) -> Skip | None:
    """Why a constant must keep its exact values; None where it need not."""
    return _refusal(weight, _DEPTH)


def _refusal(value: ValueView, depth: int) -> Skip | None:
    if value.is_graph_output:
        return Skip("it is a graph output")
    for use in value.readers:
        found = _refused_by(use, depth)
        if found is not None:
            return found
    return None


def _refused_by(use: Use, depth: int) -> Skip | None:
    node, index = use.node, use.index
    exactly = Skip(f"{node.op_type} reads it exactly")
    if node.is_opaque:
        return Skip("a node that is left alone reads it")
    if node.op_type in _ALL_DATA or index in _DATA.get(node.op_type, ()):
        return None
    if node.op_type != "Concat" and index not in _MOVED.get(node.op_type, ()):
        return exactly
    handed_on = [value for value in node.outputs if value is not None]
    if node.op_type == "Cast" and node.attribute("to") not in _FLOATS:
        return exactly
    if depth == 0:
        return Skip("it goes through too many nodes")
    return next(filter(None, (_refusal(value, depth - 1) for value in handed_on)), None)


def is_last(weight: ValueView) -> bool:
    """True where nothing that adds up products stands between a weight and a graph output."""
    return any(_ends(use.node, _DEPTH) for use in weight.readers)


def _ends(node: NodeView, depth: int) -> bool:
    for value in node.outputs:
        if value is None:
            continue
        if value.is_graph_output:
            return True
        nexts = [use.node for use in value.readers if use.node.op_type not in _CONTRACTED]
        if depth and len(nexts) == len(value.readers) and any(_ends(n, depth - 1) for n in nexts):
            return True
    return False


def is_scale(use: Use) -> bool:
    """True where a constant multiplies another that is stored in integers and cast."""
    if use.node.op_type != "Mul":
        return False
    other = use.node.inputs[1 - use.index]
    cast = other.producer if other is not None else None
    codes = cast.inputs[0] if cast is not None and cast.op_type == "Cast" else None
    if codes is None or not codes.is_constant:
        return False
    dtype = codes.array().dtype if codes.dtype is None else codes.dtype
    return dtype.kind not in "fc"


def contracted(weight: ValueView, rank: int) -> tuple[int, ...]:
    """Axes of a weight along which its first reader that adds up products does so."""
    for use in weight.readers:
        axes = _CONTRACTED.get(use.node.op_type)
        found = () if axes is None else axes(use.node, use.index, rank)
        if found:
            return tuple(found)
    return ()


def _conv(node: NodeView, index: int, rank: int) -> Sequence[int]:
    return range(1, rank) if index == 1 else ()


def _conv_transpose(node: NodeView, index: int, rank: int) -> Sequence[int]:
    return (0, *range(2, rank)) if index == 1 else ()


def _gemm(node: NodeView, index: int, rank: int) -> Sequence[int]:
    if index > 1:
        return ()
    flipped = bool(node.attribute("transB" if index else "transA", 0))
    return (int(flipped != (index == 0)),)


def _matmul(node: NodeView, index: int, rank: int) -> Sequence[int]:
    return (rank - 2 if index == 1 else rank - 1,)


def _recurrent(node: NodeView, index: int, rank: int) -> Sequence[int]:
    return (2,) if index in (1, 2) else ()


_CONTRACTED: dict[str, Callable[[NodeView, int, int], Sequence[int]]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _recurrent),
}

"""Dimensions of a node's outputs from those of its inputs, as sizes with symbols.

One small function an operator; what is missing here is filled from ONNX's own inference, whose
integers are known and whose symbols are not used. Source: the operators' ONNX definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import reduce

from graphopt.contract import NodeView, ValueView
from graphopt.passes.fold._copies import copies_are_harmless
from graphopt.passes.fold._extents import EXTENTS
from graphopt.passes.fold._facts import Dims, Facts
from graphopt.passes.fold._sizes import Size, Symbol, product, size

Rule = Callable[[NodeView, Facts], "Sequence[Dims | None]"]

_SAME = frozenset(
    {"Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BatchNormalization", "BitwiseNot",
     "Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos", "Cosh", "CumSum", "DequantizeLinear",
     "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu", "GroupNormalization", "HardSigmoid",
     "HardSwish", "Hardmax", "Identity", "InstanceNormalization", "IsInf", "IsNaN", "LRN",
     "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "LpNormalization",
     "MeanVarianceNormalization", "Mish", "Neg", "Not", "PRelu", "QuantizeLinear",
     "RMSNormalization", "Reciprocal", "Relu", "Round", "ScatterElements", "ScatterND", "Selu",
     "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softmax", "Softplus", "Softsign", "Sqrt",
     "Swish", "Tan", "Tanh", "ThresholdedRelu", "Trilu"}
)  # fmt: skip
"""Operators whose first output has the first input's shape."""

_BROADCAST = frozenset(
    {"Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater",
     "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow",
     "Sub", "Sum", "Where", "Xor"}
)  # fmt: skip


def output_dims(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    """Dimensions of the outputs, as far as a rule tells; shorter than the outputs where not."""
    if node.op_type in _SAME:
        return [facts.dims(node.inputs[0])]
    if node.op_type in _BROADCAST:
        if node.attribute("broadcast", 0):
            return [facts.dims(node.inputs[0])]  # before opset 7 the second one is fitted to it
        return [broadcast([facts.dims(value) for value in node.inputs])]
    rule = _RULES.get(node.op_type)
    return rule(node, facts) if rule else []


def broadcast(shapes: Sequence[Dims | None]) -> Dims | None:
    """The common shape, None where it cannot be told."""
    known = [shape for shape in shapes if shape is not None]
    if len(known) != len(shapes) or not known:
        return None
    rank = max(map(len, known))
    result = []
    for axis in range(rank):
        column = [shape[axis - rank + len(shape)] for shape in known if rank - axis <= len(shape)]
        wide = {dim for dim in column if dim.integer != 1}
        fixed = [dim for dim in wide if dim.integer is not None]
        if not wide:
            result.append(size(1))
        elif len(wide) == 1 or len(fixed) == 1:
            # Beside a number above 1 a symbol can only stand for that number or for 1.
            result.append(fixed[0] if fixed else wide.pop())
        elif fixed:
            return None
        else:
            result.append(reduce(Size.broadcast, sorted(wide, key=str)))
    return tuple(result)


def resolved(
    target: Sequence[Size], source: Dims, *, allowzero: bool, nonzero: Collection[Symbol] = ()
) -> Dims | None:
    """The shape that a Reshape to `target` makes of `source`; None where it cannot be told.

    With a size of `nonzero` that is 0 the model does not run.
    """
    if any(entry.integer is None and not entry.is_nonnegative for entry in target):
        return None  # one that comes out as -1 would be the open one
    if not allowzero and not copies_are_harmless(target, source, nonzero):
        return None
    dims: list[Size | None] = []
    for index, entry in enumerate(target):
        if entry.integer == 0 and not allowzero:
            if index >= len(source):
                return None
            dims.append(source[index])
        else:
            dims.append(None if entry.integer == -1 else entry)
    if dims.count(None) == 1:
        rest = product(dim for dim in dims if dim is not None)
        dims[dims.index(None)] = product(source).divided(rest) if rest.terms else None
    found = [dim for dim in dims if dim is not None]
    return tuple(found) if len(found) == len(dims) else None


def axes_of(node: NodeView, facts: Facts, rank: int, index: int = 1) -> list[int] | None:
    """Axes from the attribute or, in later opsets, the input; not negative; None where unknown."""
    axes = node.attribute("axes")
    if axes is None and len(node.inputs) > index and node.inputs[index] is not None:
        content = facts.content(node.inputs[index])
        if content is None or any(entry.integer is None for entry in content.ravel()):
            return None
        axes = [entry.integer for entry in content.ravel()]
    if axes is None:
        return []
    found = [int(axis) + rank if axis < 0 else int(axis) for axis in axes]
    return found if all(0 <= axis < rank for axis in found) else None


def _transpose(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    dims = facts.dims(node.inputs[0])
    if dims is None:
        return []
    perm = node.attribute("perm") or list(reversed(range(len(dims))))
    return [tuple(dims[axis] for axis in perm)] if len(perm) == len(dims) else []


def _reshape(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    source, target = facts.dims(node.inputs[0]), _target(node, facts)
    if source is None or target is None:
        return []
    allowzero = bool(node.attribute("allowzero", 0))
    return [resolved(target, source, allowzero=allowzero, nonzero=facts.nonzero)]


def _target(node: NodeView, facts: Facts) -> list[Size] | None:
    content = facts.content(node.inputs[1]) if len(node.inputs) > 1 else None
    return None if content is None else list(content.ravel())


def _flatten(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    dims = facts.dims(node.inputs[0])
    if dims is None:
        return []
    axis = node.attribute("axis", 1)
    axis = axis + len(dims) if axis < 0 else axis
    return [(product(dims[:axis]), product(dims[axis:]))]


def _squeeze(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    dims = facts.dims(node.inputs[0])
    axes = None if dims is None else axes_of(node, facts, len(dims))
    if dims is None or not axes:
        return []
    return [tuple(dim for axis, dim in enumerate(dims) if axis not in axes)]


def _unsqueeze(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    dims = facts.dims(node.inputs[0])
    if dims is None:
        return []
    count = _axis_count(node)
    axes = None if count is None else axes_of(node, facts, len(dims) + count)
    if axes is None:
        return []
    rest = iter(dims)
    return [tuple(size(1) if a in axes else next(rest) for a in range(len(dims) + len(axes)))]


def _axis_count(node: NodeView) -> int | None:
    axes = node.attribute("axes")
    if axes is not None:
        return len(axes)
    value = node.inputs[1] if len(node.inputs) > 1 else None
    if value is None or value.shape is None or len(value.shape) != 1:
        return None
    return value.shape[0] if isinstance(value.shape[0], int) else None


def _concat(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    shapes = [facts.dims(value) for value in node.inputs]
    known = [shape for shape in shapes if shape is not None]
    if len(known) != len(shapes) or not known or len({len(shape) for shape in known}) != 1:
        return []
    axis = node.attribute("axis", 1) % len(known[0])
    total = size(0)
    for shape in known:
        total = total + shape[axis]
    # All agree on the other axes: a shape of numbers says more than one of symbols.
    columns = zip(*known, strict=True)
    best = [min(column, key=lambda dim: dim.integer is None) for column in columns]
    return [(*best[:axis], total, *best[axis + 1 :])]


def _gather(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    dims, indices = facts.dims(node.inputs[0]), facts.dims(node.inputs[1])
    if dims is None or indices is None or not dims:
        return []
    axis = node.attribute("axis", 0) % len(dims)
    return [(*dims[:axis], *indices, *dims[axis + 1 :])]


def _matmul(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    first, second = facts.dims(node.inputs[0]), facts.dims(node.inputs[1])
    if first is None or second is None or len(first) < 2 or len(second) < 2:
        return []
    batch = broadcast([first[:-2], second[:-2]])
    return [] if batch is None else [(*batch, first[-2], second[-1])]


def _gemm(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    first, second = facts.dims(node.inputs[0]), facts.dims(node.inputs[1])
    if first is None or second is None or len(first) != 2 or len(second) != 2:
        return []
    rows = first[1 if node.attribute("transA", 0) else 0]
    return [(rows, second[0 if node.attribute("transB", 0) else 1])]


def _expand(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    target = _target(node, facts)
    if target is None:
        return []
    return [broadcast([facts.dims(node.inputs[0]), tuple(target)])]


def _constant_of_shape(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    content = facts.content(node.inputs[0])
    return [] if content is None else [tuple(content.ravel())]


def _reduce(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    dims = facts.dims(node.inputs[0])
    axes = None if dims is None else axes_of(node, facts, len(dims))
    if dims is None or axes is None:
        return []
    if not axes:
        if node.attribute("noop_with_empty_axes", 0):
            return [dims]
        if len(node.inputs) > 1 and node.inputs[1] is not None:
            return []
        axes = list(range(len(dims)))
    if node.attribute("keepdims", 1):
        return [tuple(size(1) if a in axes else dim for a, dim in enumerate(dims))]
    return [tuple(dim for a, dim in enumerate(dims) if a not in axes)]


def _spatial(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    """Batch and channels of a convolution; the rest is ONNX inference's, or the formula's."""
    dims = facts.dims(node.inputs[0])
    weight: ValueView | None = node.inputs[1] if len(node.inputs) > 1 else None
    kernel = facts.dims(weight)
    if dims is None or kernel is None or len(dims) != len(kernel):
        return []
    spatial = [_windows(node, i, dims[i + 2], kernel[i + 2]) for i in range(len(dims) - 2)]
    found = [dim for dim in spatial if dim is not None]
    return [(dims[0], kernel[0], *found)] if len(found) == len(spatial) else []


def _windows(node: NodeView, index: int, length: Size, kernel: Size) -> Size | None:
    rank = len(node.attribute("kernel_shape") or [])
    if node.attribute("auto_pad", "NOTSET") != "NOTSET" or not rank:
        return None
    pads = node.attribute("pads") or [0] * 2 * rank
    stride = (node.attribute("strides") or [1] * rank)[index]
    dilation = (node.attribute("dilations") or [1] * rank)[index]
    span = (kernel - 1) * dilation + 1
    room = length + (pads[index] + pads[index + rank]) - span
    steps = room.quotient(size(stride)) if stride > 1 else room
    return None if steps is None else steps + 1


_REDUCING = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

_RULES: dict[str, Rule] = {
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _spatial,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    **EXTENTS,
    **{f"Reduce{kind}": _reduce for kind in _REDUCING},
}

"""Elementwise operators, casts, comparisons and reductions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from tests.acceptance.random_graphs.writer import LARGEST, Shape, Value, Writer, broadcast

Step = Callable[[Writer], Value | None]

F32, F64, F16 = (np.dtype(k) for k in (np.float32, np.float64, np.float16))
I64, I32, BOOL = np.dtype(np.int64), np.dtype(np.int32), np.dtype(np.bool_)

KEEPING = ("Identity", "Identity", "Neg", "Neg", "Abs", "Relu", "Relu")
BOUNDED = {
    "Sigmoid": 1.0, "Tanh": 1.0, "Softsign": 1.0, "Erf": 1.0, "Sin": 1.0, "Cos": 1.0,
    "HardSigmoid": 1.0,
}  # fmt: skip
SMOOTH = ("Softplus", "Elu", "LeakyRelu", "Selu", "ThresholdedRelu", "HardSwish", "Mish", "Gelu")
SINCE = {"HardSwish": 14, "Mish": 18, "Gelu": 20}
STEPPING = ("Floor", "Ceil", "Round", "Sign")


def floating(value: Value) -> bool:
    return value.dtype == F32 and value.bound <= LARGEST


def integral(value: Value) -> bool:
    return value.dtype == I64 and value.bound <= LARGEST


def unary(w: Writer) -> Value | None:
    x = w.value(lambda v: floating(v) or (integral(v) and not v.stored))
    if x is None:
        return None
    if x.dtype == I64:
        return w.node(
            w.random.choice(("Neg", "Abs", "Identity", "Sign")), [x], replace(x, numbers=None)
        )
    kind = w.random.random()
    if kind < 0.5:
        return w.node(w.random.choice(KEEPING), [x], x)
    if kind < 0.7:
        op = w.random.choice(list(BOUNDED))
        return w.node(op, [x], replace(x, exact=False, bound=BOUNDED[op]))
    if kind < 0.9 or not x.exact:
        op = w.random.choice([op for op in SMOOTH if SINCE.get(op, 0) <= w.opset])
        exact = x.exact and op == "ThresholdedRelu"
        if op == "ThresholdedRelu" and not exact:
            op = "LeakyRelu"
        return w.node(op, [x], replace(x, exact=exact, bound=x.bound * 2))
    return w.node(w.random.choice(STEPPING), [x], x)


def positive(w: Writer) -> Value | None:
    """Exp, Sqrt, Log and Reciprocal where they are tame."""
    x = w.value(lambda v: floating(v) and v.bound <= 4)
    if x is None:
        return None
    op = w.random.choice(("Exp", "Sqrt", "Log", "Reciprocal", "Pow"))
    if op == "Exp":
        return w.node("Exp", [x], replace(x, exact=False, bound=math.exp(x.bound)))
    if op == "Pow":
        two = w.constant(np.array(w.random.choice((1.0, 2.0)), np.float32))
        return w.node("Pow", [x, two], replace(x, exact=False, bound=max(x.bound**2, 1)))
    magnitude = w.node("Abs", [x], x)
    one = w.constant(np.array(1.0, np.float32))
    more = w.node("Add", [magnitude, one], replace(x, bound=x.bound + 1))
    return w.node(op, [more], replace(more, exact=False, bound=max(more.bound, 1)))


def operand(w: Writer, x: Value) -> Value:
    """A second operand: a constant of a shape that broadcasts, or another value."""
    if w.chance(0.4):
        other = w.value(
            lambda v: v.dtype == x.dtype and broadcast(v, x) is not None and v.bound <= 64
        )
        if other is not None:
            return other
    shape = operand_shape(w, x)
    if x.dtype == F32:
        return w.weight(*shape)
    rng = np.random.default_rng(w.random.randrange(1 << 30))
    return w.constant(rng.integers(-3, 4, shape).astype(x.dtype))


def operand_shape(w: Writer, x: Value) -> Shape:
    kept = [size if size is not None and w.chance(0.6) else 1 for size in x.fixed]
    cut = w.random.randint(0, x.rank)
    if w.chance(0.05) and x.rank < 5:
        return (1, *kept)
    return tuple(kept[cut:])


def binary(w: Writer) -> Value | None:
    x = w.value(lambda v: (floating(v) or integral(v) or v.dtype == F64) and v.bound <= 256)
    if x is None:
        return None
    y = operand(w, x)
    pair = broadcast(x, y)
    if pair is None:
        return None
    op = w.random.choice(("Add", "Add", "Sub", "Mul", "Mul", "Max", "Min", "Div"))
    if op == "Div":
        return divided(w, x)
    bound = {"Mul": x.bound * y.bound, "Max": max(x.bound, y.bound), "Min": max(x.bound, y.bound)}
    if op in ("Max", "Min") and w.opset < 12 and x.dtype == I64:
        op = "Add"
    inputs = [x, y] if w.chance(0.7) else [y, x]
    exact = x.exact and y.exact
    return w.node(
        op, inputs,
        Value("", x.dtype, pair, exact, max(bound.get(op, x.bound + y.bound), 1e-3)),
    )  # fmt: skip


def divided(w: Writer, x: Value) -> Value | None:
    """By constants that are never zero."""
    shape = operand_shape(w, x)
    rng = np.random.default_rng(w.random.randrange(1 << 30))
    if x.dtype == I64:
        array = rng.choice([1, 2, 3, -2], shape).astype(np.int64)
        op = w.random.choice(("Div", "Mod"))
        if op == "Mod" or x.bound <= 0:
            array = np.abs(array)
    else:
        op, array = "Div", rng.choice([1.0, 2.0, 0.5, -4.0], shape).astype(x.dtype)
    y = w.constant(np.asarray(array))
    pair = broadcast(x, y)
    if pair is None:
        return None
    return w.node(op, [x, y], Value("", x.dtype, pair, x.exact, x.bound * 2 + 4))


def clip(w: Writer) -> Value | None:
    x = w.value(floating)
    if x is None:
        return None
    low, high = w.random.choice(((-1.0, 1.0), (0.0, 6.0), (-2.0, 0.5), (0.0, 1.0)))
    inputs: list[Value | str] = [x, w.constant(np.array(low, np.float32))]
    bound = x.bound
    if w.chance(0.8):
        inputs.append(w.constant(np.array(high, np.float32)))
        bound = 6.0
    if w.chance(0.2) and len(inputs) == 3:
        inputs[1] = ""
        bound = x.bound
    return w.node("Clip", inputs, replace(x, bound=max(bound, 6.0)))


CASTS: dict[np.dtype[Any], tuple[np.dtype[Any], ...]] = {
    F32: (F64, F16, I64, F32, BOOL), F64: (F32, F64), F16: (F32, F16),
    I64: (I32, F32, I64, F64, BOOL),
    I32: (I64, F32), BOOL: (F32, I64, BOOL),
}  # fmt: skip


def cast(w: Writer) -> Value | None:
    x = w.value(lambda v: v.dtype in CASTS and v.bound <= 1000)
    if x is None:
        return None
    to = w.random.choice(CASTS[x.dtype])
    if not x.exact and to in (I64, BOOL, F16):
        to = F64 if x.dtype == F32 else x.dtype
    exact = x.exact
    if to in (BOOL,):
        return w.node("Cast", [x], replace(x, dtype=to, bound=1.0, numbers=None), to=_code(to))
    return w.node("Cast", [x], replace(x, dtype=to, exact=exact, numbers=None), to=_code(to))


def back_to_float(w: Writer) -> Value | None:
    """Half and double precision do not stay for long: few kernels take them."""
    x = w.value(lambda v: v.dtype in (F16, F64, I32))
    if x is None:
        return None
    to = I64 if x.dtype == I32 else F32
    return w.node("Cast", [x], replace(x, dtype=to), to=_code(to))


def _code(dtype: np.dtype[Any]) -> TensorProto.DataType:
    return helper.np_dtype_to_tensor_dtype(dtype)


def compare(w: Writer) -> Value | None:
    x = w.value(lambda v: (floating(v) or integral(v)) and v.exact)
    if x is None:
        return None
    shape = operand_shape(w, x)
    rng = np.random.default_rng(w.random.randrange(1 << 30))
    y = w.constant(np.asarray(rng.integers(-1, 2, shape)).astype(x.dtype))
    pair = broadcast(x, y)
    if pair is None:
        return None
    names = ["Greater", "Less", "Equal"] + (
        ["GreaterOrEqual", "LessOrEqual"] if w.opset >= 16 else []
    )
    return w.node(w.random.choice(names), [x, y], Value("", BOOL, pair, True, 1.0))


def logic(w: Writer) -> Value | None:
    x = w.value(lambda v: v.dtype == BOOL)
    if x is None:
        return None
    if w.chance(0.4):
        return w.node("Not", [x], x)
    if w.chance(0.5):
        y = w.constant(np.array(w.chance(0.5)))
    else:
        y = w.value(lambda v: v.dtype == BOOL and broadcast(v, x) is not None) or x
    pair = broadcast(x, y)
    if pair is None:
        return None
    return w.node(w.random.choice(("And", "Or", "Xor")), [x, y], replace(x, shapes=pair))


def where(w: Writer) -> Value | None:
    c = w.value(lambda v: v.dtype == BOOL)
    x = w.value(floating)
    if c is None or x is None or broadcast(c, x) is None:
        return None
    y = operand(w, x)
    pair = broadcast(c, x, y)
    if pair is None:
        return None
    inputs = [c, x, y] if w.chance(0.5) else [c, y, x]
    like = Value("", x.dtype, pair, x.exact and y.exact, max(x.bound, y.bound))
    return w.node("Where", inputs, like)


REDUCTIONS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL1")


def reduce(w: Writer) -> Value | None:
    x = w.value(lambda v: floating(v) and v.filled and v.rank > 0 and v.bound <= 64)
    if x is None:
        return None
    op = w.random.choice(REDUCTIONS)
    axes = sorted(w.random.sample(range(x.rank), w.random.randint(1, x.rank)))
    keep = w.random.choice((0, 1))
    first, second = (
        tuple(1 if i in axes else size for i, size in enumerate(shape) if keep or i not in axes)
        for shape in x.shapes
    )
    count = max(int(np.prod([shape[i] for i in axes])) for shape in x.shapes)
    bound = max(x.bound * count, x.bound**2 * count)
    exact = x.exact and op in ("ReduceMax", "ReduceMin", "ReduceSum", "ReduceL1")
    like = Value("", x.dtype, (first, second), exact, bound)
    told = [i - x.rank if w.chance(0.3) else i for i in axes]
    if w.opset >= (13 if op == "ReduceSum" else 18):
        return w.node(op, [x, w.ints(*told)], like, keepdims=keep)
    return w.node(op, [x], like, axes=told, keepdims=keep)


def softmax(w: Writer) -> Value | None:
    x = w.value(lambda v: floating(v) and v.filled and v.rank > 0 and v.bound <= 64)
    if x is None:
        return None
    op = w.random.choice(("Softmax", "Softmax", "LogSoftmax"))
    bound = 1.0 if op == "Softmax" else 2 * x.bound + 10
    return w.node(
        op, [x], replace(x, exact=False, bound=bound), axis=w.random.randrange(-x.rank, x.rank)
    )


def arg_max(w: Writer) -> Value | None:
    x = w.value(lambda v: floating(v) and v.filled and v.rank > 0 and v.exact)
    if x is None:
        return None
    axis = w.random.randrange(x.rank)
    first, second = (tuple(1 if i == axis else s for i, s in enumerate(t)) for t in x.shapes)
    like = Value("", I64, (first, second), True, 64.0)
    return w.node(w.random.choice(("ArgMax", "ArgMin")), [x], like, axis=axis, keepdims=1)


def cumulative(w: Writer) -> Value | None:
    x = w.value(lambda v: floating(v) and v.filled and v.rank > 0 and v.bound <= 64)
    if x is None:
        return None
    axis = w.constant(np.array(w.random.randrange(x.rank), np.int64))
    return w.node("CumSum", [x, axis], replace(x, bound=x.bound * 16))


STEPS: dict[Step, int] = {
    unary: 6, positive: 2, binary: 9, clip: 2, cast: 4, back_to_float: 3, compare: 2, logic: 2,
    where: 2, reduce: 3, softmax: 1, arg_max: 1, cumulative: 1,
}  # fmt: skip
"""How to write a node, and how often."""

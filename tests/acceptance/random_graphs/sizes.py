"""Sizes computed from shapes, as exporters write them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.acceptance.random_graphs.elementwise import F32, I64, Step
from tests.acceptance.random_graphs.moving import axes_form, each, moved, shaped
from tests.acceptance.random_graphs.writer import Shape, Value, Writer


def dynamic_reshape(w: Writer) -> Value | None:
    """A target computed from the shape, as exporters write it."""
    x = moved(w, 2)
    if x is None or not x.filled:
        return None
    shape = shape_of(w, x)
    lead = _pick(w, shape, 0)
    if w.chance(0.5):
        rest = w.ints(-1)
    else:
        rest = _pick(w, shape, 1)
        for axis in range(2, x.rank):
            rest = arithmetic(w, "Mul", rest, _pick(w, shape, axis))
    if w.chance(0.2):
        wide = w.node("Cast", [rest], replace(rest, dtype=F32), to=1)
        rest = w.node("Cast", [wide], rest, to=7)
    target = w.node("Concat", [lead, rest], _sizes(lead, rest), axis=0)
    pair = each(x, lambda s: [s[0], int(np.prod(s[1:]))])
    return w.node("Reshape", [x, target], shaped(x, pair))


def shape_of(w: Writer, x: Value) -> Value:
    first, second = (np.array(shape, np.int64) for shape in x.shapes)
    like = Value("", I64, ((x.rank,), (x.rank,)), True, 4096.0, (first, second))
    return w.node("Shape", [x], like)


def _pick(w: Writer, shape: Value, axis: int) -> Value:
    """One entry of a shape, as a tensor of one element."""
    assert shape.numbers is not None
    first, second = (n[axis : axis + 1] for n in shape.numbers)
    like = replace(shape, shapes=((1,), (1,)), numbers=(first, second))
    way = w.random.random()
    if way < 0.4:
        return w.node("Slice", [shape, w.ints(axis), w.ints(axis + 1), w.ints(0)], like)
    if way < 0.6:
        return w.node("Gather", [shape, w.ints(axis)], like, axis=0)
    index = w.constant(np.array(axis, np.int64))
    number = w.node("Gather", [shape, index], replace(like, shapes=((), ()), numbers=None), axis=0)
    return replace(axes_form(w, "Unsqueeze", number, [0], ((1,), (1,))), numbers=(first, second))


def arithmetic(w: Writer, op: str, a: Value, b: Value) -> Value:
    assert a.numbers is not None and b.numbers is not None
    do = {"Mul": np.multiply, "Add": np.add, "Sub": np.subtract}[op]
    first, second = (do(x, y) for x, y in zip(a.numbers, b.numbers, strict=True))
    return w.node(op, [a, b], replace(a, numbers=(first, second), stored=False))


def _sizes(*parts: Value) -> Value:
    numbers = [np.concatenate([p.numbers[i] for p in parts if p.numbers]) for i in (0, 1)]
    shape: Shape = (len(numbers[0]),)
    return Value("", I64, (shape, shape), True, 4096.0, (numbers[0], numbers[1]))


def dynamic_fill(w: Writer) -> Value | None:
    """Expand, Tile or ConstantOfShape with sizes out of a shape, and Range."""
    x = moved(w)
    if x is None:
        return None
    shape = shape_of(w, x)
    kind = w.random.choice(("expand", "fill", "range", "size"))
    if kind == "expand":
        one = w.weight(*([1] * x.rank))
        return w.node(
            "Expand", [one, shape], replace(one, shapes=x.shapes, numbers=None, stored=False)
        )
    if kind == "fill":
        zeros = Value("", F32, x.shapes, True, 0.0)
        return w.node("ConstantOfShape", [shape], zeros)
    if kind == "size":
        return w.node("Size", [x], Value("", I64, ((), ()), True, 4096.0))
    axis = w.random.randrange(x.rank)
    index = w.constant(np.array(axis, np.int64))
    number = w.node("Gather", [shape, index], Value("", I64, ((), ()), True, 4096.0), axis=0)
    start, step = (w.constant(np.array(k, np.int64)) for k in (0, 1))
    first, second = ((s[axis],) for s in x.shapes)
    return w.node("Range", [start, number, step], Value("", I64, (first, second), True, 4096.0))


STEPS: dict[Step, int] = {dynamic_reshape: 3, dynamic_fill: 2}
"""How to write a node, and how often."""

"""Operators node by node, as exporters write what their opset lacks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tests.acceptance.random_graphs.elementwise import Step, floating
from tests.acceptance.random_graphs.writer import Value, Writer, replaced


def layer_norm(w: Writer) -> Value | None:
    """LayerNormalization, or what exporters write for it before opset 17."""
    x = w.value(
        lambda v: (
            floating(v) and v.filled and v.rank >= 2 and (v.fixed[-1] or 0) >= 2 and v.bound <= 64
        )
    )
    if x is None:
        return None
    scale, bias = w.weight(x.shapes[0][-1]), w.weight(x.shapes[0][-1])
    like = replace(x, exact=False, bound=16.0, stored=False)
    if w.opset >= 17 and w.chance(0.5):
        return w.node("LayerNormalization", [x, scale, bias], like, axis=-1, epsilon=0.01)
    narrow = replace(like, shapes=replaced(x.shapes, x.rank - 1, (1, 1)), bound=x.bound)
    mean = _mean(w, x, narrow)
    centred = w.node("Sub", [x, mean], replace(like, bound=2 * x.bound))
    two = w.constant(np.array(2.0, np.float32))
    square = w.node("Pow", [centred, two], replace(like, bound=4 * x.bound**2))
    variance = _mean(w, square, replace(narrow, bound=4 * x.bound**2))
    more = w.node("Add", [variance, w.constant(np.array(0.01, np.float32))], variance)
    deviation = w.node("Sqrt", [more], more)
    unit = w.node("Div", [centred, deviation], replace(like, bound=8.0))
    scaled = w.node("Mul", [unit, scale], replace(like, bound=16.0))
    return w.node("Add", [scaled, bias], replace(like, bound=18.0))


def _mean(w: Writer, x: Value, like: Value) -> Value:
    if w.opset >= 18:
        return w.node("ReduceMean", [x, w.ints(-1)], like)
    return w.node("ReduceMean", [x], like, axes=[-1])


def gelu(w: Writer) -> Value | None:
    """x * 0.5 * (1 + erf(x / sqrt 2)), or x * relu6(x + 3) / 6, or x * sigmoid(x), node by node."""
    x = w.value(lambda v: floating(v) and v.filled and v.bound <= 64 and not v.stored)
    if x is None:
        return None
    number = {k: w.constant(np.array(k, np.float32)) for k in (0.0, 0.5, 1.0, 3.0, 6.0)}
    like = replace(x, exact=False)
    kind = w.random.choice(("gelu", "hard swish", "swish"))
    if kind == "swish":
        gate = w.node("Sigmoid", [x], replace(like, bound=1.0))
        return w.node("Mul", [x, gate], like)
    if kind == "hard swish":
        moved = w.node("Add", [x, number[3.0]], replace(like, bound=x.bound + 3))
        held = w.node("Clip", [moved, number[0.0], number[6.0]], replace(like, bound=6.0))
        product = w.node("Mul", [x, held], replace(like, bound=6 * x.bound))
        return w.node("Div", [product, number[6.0]], like)
    part = w.node("Div", [x, w.constant(np.array(math.sqrt(2), np.float32))], like)
    curve = w.node("Add", [w.node("Erf", [part], like), number[1.0]], replace(like, bound=2.0))
    if w.chance(0.5):
        return w.node(
            "Mul", [w.node("Mul", [x, curve], replace(like, bound=2 * x.bound)), number[0.5]], like
        )
    return w.node("Mul", [w.node("Mul", [x, number[0.5]], like), curve], like)


STEPS: dict[Step, int] = {layer_norm: 1, gelu: 1}
"""How to write a node, and how often."""

"""Layers with constant weights."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tests.acceptance.random_graphs.elementwise import F32, Step, floating
from tests.acceptance.random_graphs.moving import axes_form, each, shaped
from tests.acceptance.random_graphs.writer import LARGEST, Pair, Value, Writer, replaced, small


def image(w: Writer, channels: bool = True) -> Value | None:
    """A value that a convolution can read."""
    return w.value(
        lambda v: v.dtype == F32 and v.filled and v.rank in (3, 4) and not v.stored
        and v.bound <= 256 and (not channels or bool(v.fixed[1]))
        and all(s >= 2 for t in v.shapes for s in t[2:])
    )  # fmt: skip


def conv(w: Writer) -> Value | None:
    x = image(w)
    if x is None:
        return None
    channels, spatial = x.shapes[0][1], x.rank - 2
    group = channels if w.chance(0.25) else 1
    kernel = [w.random.choice((1, 1, 2)) for _ in range(spatial)]
    out = group if group > 1 else w.random.choice((2, 3, 4))
    weight = w.weight(out, channels // group, *kernel)
    pads = [w.random.choice((0, 0, 1)) for _ in range(2 * spatial)]
    sizes = [
        [
            s + pads[i] + pads[i + spatial] - k + 1
            for i, (s, k) in enumerate(zip(t[2:], kernel, strict=True))
        ]
        for t in x.shapes
    ]
    pair: Pair = (
        (x.shapes[0][0], out, *sizes[0]), (x.shapes[1][0], out, *sizes[1])
    )  # fmt: skip
    bound = x.bound * max(weight.bound, 4) * math.prod(weight.shapes[0][1:]) + 4
    inputs = [x, weight, *([w.weight(out)] if w.chance(0.5) else [])]
    like = Value("", F32, pair, x.exact, bound)
    if bound > LARGEST or not small(pair):
        return None
    told = pads if any(pads) or w.chance(0.5) else None
    return w.node("Conv", inputs, like, group=group if group > 1 else None, pads=told)


def conv_transpose(w: Writer) -> Value | None:
    x = image(w)
    if x is None:
        return None
    channels, out = x.shapes[0][1], w.random.choice((2, 3))
    kernel = [2] * (x.rank - 2)
    weight = w.weight(channels, out, *kernel)
    pair = each(x, lambda s: [s[0], out, *(2 * n for n in s[2:])])
    bound = x.bound * max(weight.bound, 4) * channels * 4 + 4
    if bound > LARGEST or not small(pair):
        return None
    inputs = [x, weight, *([w.weight(out)] if w.chance(0.5) else [])]
    return w.node(
        "ConvTranspose", inputs, Value("", F32, pair, x.exact, bound), strides=[2] * len(kernel)
    )


def batch_norm(w: Writer) -> Value | None:
    x = w.value(
        lambda v: (
            floating(v)
            and v.filled
            and v.rank >= 2
            and bool(v.fixed[1])
            and v.bound <= 256
            and not v.stored
        )
    )
    if x is None:
        return None
    count = x.shapes[0][1]
    scale, bias, mean = (w.weight(count) for _ in range(3))
    rng = np.random.default_rng(w.random.randrange(1 << 30))
    variance = w.constant(rng.choice([0.25, 1.0, 4.0], count).astype(np.float32))
    like = replace(x, exact=False, bound=4 * (x.bound + 4) * 2 + 4)
    return w.node("BatchNormalization", [x, scale, bias, mean, variance], like)


def affine(w: Writer) -> Value | None:
    """One number per channel, multiplied or added: before or behind a layer it may go into it."""
    x = w.value(
        lambda v: (
            floating(v) and v.filled and v.rank in (2, 3, 4) and bool(v.fixed[1]) and v.bound <= 64
        )
    )
    if x is None:
        return None
    shape = (
        (x.shapes[0][1], *[1] * (x.rank - 2))
        if w.chance(0.6)
        else (1,) * w.random.randint(0, x.rank)
    )
    k = w.weight(*shape)
    op = w.random.choice(("Mul", "Add", "Sub", "Div"))
    if op == "Div":
        rng = np.random.default_rng(w.random.randrange(1 << 30))
        k = w.constant(rng.choice([0.5, 2.0, -4.0], shape).astype(np.float32))
    inputs = [k, x] if w.chance(0.3) and op != "Div" else [x, k]
    return w.node(op, inputs, Value("", F32, x.shapes, x.exact, x.bound * 4 + 4))


def matmul(w: Writer) -> Value | None:
    x = w.value(
        lambda v: floating(v) and v.filled and v.rank >= 2 and bool(v.fixed[-1]) and v.bound <= 64
    )
    if x is None:
        return None
    size, out = x.shapes[0][-1], w.random.choice((2, 3, 4))
    results = [_product(w, x, size, out) for _ in range(w.random.choice((1, 1, 2, 3)))]
    result = results[-1]
    if w.chance(0.6):
        k = w.weight(*((out,) if w.chance(0.7) else (1,)))
        result = w.node(
            "Add",
            [result, k] if w.chance(0.7) else [k, result],
            replace(result, bound=result.bound + 4),
        )
    if len(results) > 1 and w.chance(0.5):
        like = replace(result, shapes=replaced(result.shapes, result.rank - 1, (2 * out, 2 * out)))
        result = w.node("Concat", [results[0], result], like, axis=-1)
    return result


def _product(w: Writer, x: Value, size: int, out: int) -> Value:
    weight = w.weight(size, out)
    pair = replaced(x.shapes, x.rank - 1, (out, out))
    bound = x.bound * 2 * size
    return w.node("MatMul", [x, weight], Value("", F32, pair, x.exact, bound))


def matmul_of_two(w: Writer) -> Value | None:
    x = w.value(
        lambda v: floating(v) and v.filled and v.rank >= 2 and v.bound <= 16 and not v.stored
    )
    if x is None:
        return None
    order = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
    turned = w.node(
        "Transpose", [x], shaped(x, each(x, lambda s: [s[i] for i in order])), perm=order
    )
    pair = each(x, lambda s: [*s[:-1], s[-2]])
    if not small(pair):
        return None
    bound = x.bound**2 * max(s[-1] for s in x.shapes) + 1
    return w.node("MatMul", [x, turned], Value("", F32, pair, x.exact, bound))


def gemm(w: Writer) -> Value | None:
    x = w.value(
        lambda v: floating(v) and v.filled and v.rank == 2 and bool(v.fixed[1]) and v.bound <= 64
    )
    if x is None:
        return None
    size, out = x.shapes[0][1], w.random.choice((2, 3, 4))
    turned = w.random.choice((0, 1))
    weight = w.weight(*((out, size) if turned else (size, out)))
    inputs = [x, weight]
    if w.chance(0.7):
        inputs.append(w.weight(*w.random.choice(((out,), (1, out), (1,), ()))))
    alpha, beta = (w.random.choice((1.0, 1.0, 0.5, 2.0)) for _ in range(2))
    like = Value("", F32, replaced(x.shapes, 1, (out, out)), x.exact, x.bound * size * 4 + 8)
    return w.node("Gemm", inputs, like, transB=turned, alpha=alpha, beta=beta)


def pool(w: Writer) -> Value | None:
    x = image(w, channels=False)
    if x is None:
        return None
    op = w.random.choice(("MaxPool", "MaxPool", "AveragePool", "AveragePool", "GlobalAveragePool"))
    if op == "GlobalAveragePool":
        pair = each(x, lambda s: [*s[:2], *[1] * (len(s) - 2)])
        return w.node(op, [x], replace(x, shapes=pair, exact=False))
    spatial = x.rank - 2
    if w.chance(0.4):  # what a Pad in front of it may or may not go into
        rim = [0, 0, *w.random.choices((0, 1), k=spatial)]
        x = w.node(
            "Pad",
            [x, w.ints(*rim, *rim)],
            shaped(x, each(x, lambda s: [n + 2 * r for n, r in zip(s, rim, strict=True)])),
        )
    pair = each(x, lambda s: [*s[:2], *(n - 1 for n in s[2:])])
    include = w.random.choice((0, 1)) if op == "AveragePool" else None
    like = replace(x, shapes=pair, exact=x.exact and op == "MaxPool")
    return w.node(op, [x], like, kernel_shape=[2] * spatial, count_include_pad=include)


def resize(w: Writer) -> Value | None:
    x = w.value(lambda v: floating(v) and v.filled and v.rank == 4 and not v.stored)
    if x is None:
        return None
    scale = w.random.choice((1.0, 2.0))
    scales = w.constant(np.array([1, 1, scale, scale], np.float32))
    pair = each(x, lambda s: [*s[:2], *(int(n * scale) for n in s[2:])])
    if not small(pair) or not all(min(s) for s in pair):
        return None
    regions: Value | str = "" if w.opset >= 13 else w.constant(np.zeros(0, np.float32))
    return w.node(
        "Resize", [x, regions, scales], shaped(x, pair), mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip


def recurrent(w: Writer) -> Value | None:
    x = w.value(
        lambda v: floating(v) and v.filled and v.rank == 3 and bool(v.fixed[2]) and v.bound <= 16
    )
    if x is None:
        return None
    op, gates = w.random.choice((("LSTM", 4), ("GRU", 3)))
    width, size = 2, x.shapes[0][2]
    inputs = [x, w.weight(1, gates * width, size), w.weight(1, gates * width, width)]
    if w.chance(0.5):
        inputs.append(w.weight(1, 2 * gates * width))
    pair = each(x, lambda s: [s[0], 1, s[1], width])
    y = w.nodes(op, inputs, [Value("", F32, pair, False, 1.0)], hidden_size=width)[0]
    return axes_form(w, "Squeeze", y, [1], each(y, lambda s: [s[0], *s[2:]]))


def padded(w: Writer) -> Value | None:
    """A Pad of the spatial axes alone, with zeros or something else."""
    x = image(w)
    if x is None:
        return None
    rim = [0, 0, *w.random.choices((0, 1), k=x.rank - 2)]
    pair = each(x, lambda s: [n + 2 * r for n, r in zip(s, rim, strict=True)])
    inputs = [x, w.ints(*rim, *rim)]
    if w.chance(0.4):
        inputs.append(w.constant(np.array(w.random.choice((0.0, 1.5)), np.float32)))
    return w.node("Pad", inputs, shaped(x, pair)) if small(pair) else None


STEPS: dict[Step, int] = {
    conv: 4, conv_transpose: 1, batch_norm: 4, affine: 5, matmul: 4, matmul_of_two: 1,
    gemm: 2, pool: 3, resize: 1, recurrent: 1,
}  # fmt: skip
"""How to write a node, and how often."""

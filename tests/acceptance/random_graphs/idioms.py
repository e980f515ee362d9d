"""Several nodes as they come in real models, and as passes look for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.acceptance.random_graphs import elementwise, layers, moving, sizes
from tests.acceptance.random_graphs.elementwise import F32, I64, Step, floating
from tests.acceptance.random_graphs.moving import each, shaped
from tests.acceptance.random_graphs.writer import Pair, Value, Writer, replaced, small

HEADS, WIDTH = 2, 2


def in_a_row(w: Writer, *steps: Step) -> Value | None:
    """Each reads what the one before it made, where it can."""
    before, w.chaining = w.chaining, 1.0
    try:
        made = None
        for step in steps:
            made = step(w) or made
        return made
    finally:
        w.chaining = before


def linear_block(w: Writer) -> Value | None:
    """A layer with what belongs to it before and behind."""
    front = w.random.choices((layers.affine, layers.padded), k=w.random.randint(0, 1))
    linear = w.random.choice(
        (layers.conv, layers.conv, layers.conv, layers.conv_transpose, layers.gemm, layers.matmul)
    )
    behind = (layers.affine, layers.batch_norm, elementwise.unary)
    return in_a_row(
        w, *front, linear, *w.random.choices(behind, (2, 3, 1), k=w.random.randint(1, 3))
    )


def two_layers(w: Writer) -> Value | None:
    first = w.random.choice((layers.conv, layers.gemm, layers.matmul))
    return in_a_row(w, first, first)


def moves(w: Writer) -> Value | None:
    """Two or three of one kind: what may become one, or none."""
    kinds = (
        moving.reshape, moving.transpose, moving.slices, moving.concat, moving.unsqueeze,
        moving.squeeze, moving.gather, moving.expand, elementwise.cast, elementwise.clip,
        moving.flatten, moving.pad, moving.split,
    )  # fmt: skip
    kind = w.random.choice(kinds)
    return in_a_row(w, kind, kind, *w.random.choices((kind, *kinds), k=w.random.randint(0, 2)))


def moved_through(w: Writer) -> Value | None:
    """A Transpose with work behind it, and a Transpose behind that."""
    work = (
        elementwise.unary, elementwise.binary, elementwise.reduce, elementwise.softmax,
        moving.concat, moving.split, moving.pad, layers.affine, elementwise.where,
    )  # fmt: skip
    between = w.random.choices(work, k=w.random.randint(1, 3))
    return in_a_row(w, moving.transpose, *between, moving.transpose)


def sequence(w: Writer) -> Value | None:
    return w.value(
        lambda v: floating(v) and v.filled and v.rank == 3 and v.fixed[2] == 4 and v.bound <= 16
        and not v.stored
    )  # fmt: skip


def projected(w: Writer, x: Value, out: int) -> Value:
    pair = replaced(x.shapes, 2, (out, out))
    product = w.node("MatMul", [x, w.weight(4, out)], Value("", F32, pair, x.exact, x.bound * 8))
    if w.chance(0.3):
        return product
    return w.node("Add", [product, w.weight(out)], replace(product, bound=product.bound + 2))


def heads(w: Writer, x: Value, turn: tuple[int, ...] = (0, 2, 1, 3)) -> Value:
    """[N, S, heads * width] as [N, heads, S, width], or with the last two exchanged."""
    cut = each(x, lambda s: [s[0], s[1], HEADS, WIDTH])
    lead = 0 if x.fixed[0] is None else w.random.choice((0, x.shapes[0][0]))
    parts = w.node(
        "Reshape", [x, w.ints(lead, 0 if lead == 0 else -1, HEADS, WIDTH)], shaped(x, cut)
    )
    pair = each(parts, lambda s: [s[i] for i in turn])
    return w.node("Transpose", [parts], shaped(parts, pair), perm=list(turn))


def attention(w: Writer) -> Value | None:
    """Three products of one input, or one that is split; heads, scores, softmax."""
    x = sequence(w)
    if x is None:
        return None
    packed = w.chance(0.5)
    if packed:
        whole = projected(w, x, 12)
        part = shaped(whole, replaced(whole.shapes, 2, (4, 4)))
        q, k, v = w.nodes(
            "Split", [whole, *([w.ints(4, 4, 4)] if w.opset >= 13 else [])], [part] * 3, axis=-1,
            split=None if w.opset >= 13 else [4, 4, 4],
        )  # fmt: skip
    else:
        q, k, v = (projected(w, x, 4) for _ in range(3))
    q, k, v = heads(w, q), heads(w, k, (0, 2, 3, 1)), heads(w, v)
    pair = each(q, lambda s: [s[0], s[1], s[2], s[2]])
    scores = w.node("MatMul", [q, k], Value("", F32, pair, False, q.bound * k.bound * WIDTH))
    small_ = w.node("Mul", [scores, w.constant(np.array(2**-6, np.float32))], scores)
    weights = w.node("Softmax", [small_], replace(small_, bound=1.0), axis=-1)
    mixed = w.node("MatMul", [weights, v], replace(q, exact=False, bound=v.bound))
    turned = w.node(
        "Transpose",
        [mixed],
        shaped(mixed, each(mixed, lambda s: [s[0], s[2], s[1], s[3]])),
        perm=[0, 2, 1, 3],
    )
    return w.node("Reshape", [turned, w.ints(0, 0, 4)], shaped(turned, x.shapes))


def gathered_heads(w: Writer) -> Value | None:
    """One product, shaped and turned so that each of three is one index of the first axis."""
    x = sequence(w)
    if x is None:
        return None
    whole = projected(w, x, 12)
    cut = each(whole, lambda s: [s[0], s[1], 3, HEADS, WIDTH])
    parts = w.node("Reshape", [whole, w.ints(0, 0, 3, HEADS, WIDTH)], shaped(whole, cut))
    front = each(parts, lambda s: [3, s[0], HEADS, s[1], WIDTH])
    turned = w.node("Transpose", [parts], shaped(parts, front), perm=[2, 0, 3, 1, 4])
    one = shaped(turned, each(turned, lambda s: s[1:]))
    found = [
        w.node("Gather", [turned, w.constant(np.array(i, np.int64))], one, axis=0) for i in range(3)
    ]
    w.random.shuffle(found)
    like = replace(one, bound=3 * one.bound)
    total = w.node("Sub", [found[0], found[1]], like)
    return w.node("Add", [total, found[2]], like)


def flattened_product(w: Writer) -> Value | None:
    """Rows of a matrix for a Gemm, and back by arithmetic on the shape."""
    x = sequence(w)
    if x is None:
        return None
    shape = sizes.shape_of(w, x)
    rows = w.node("Reshape", [x, w.ints(-1, 4)], shaped(x, each(x, lambda s: [s[0] * s[1], 4])))
    weight, bias = w.weight(4, 3), w.weight(3)
    like = Value("", F32, replaced(rows.shapes, 1, (3, 3)), x.exact, x.bound * 8 + 2)
    product = w.node("Gemm", [rows, weight, bias], like)
    front = w.node("Slice", [shape, w.ints(0), w.ints(2), w.ints(0)], Value("", I64, ((2,), (2,))))
    target = w.node("Concat", [front, w.ints(3)], Value("", I64, ((3,), (3,))), axis=0)
    return w.node("Reshape", [product, target], shaped(product, replaced(x.shapes, 2, (3, 3))))


def mish(w: Writer) -> Value | None:
    x = w.value(lambda v: floating(v) and v.bound <= 16 and not v.stored)
    if x is None:
        return None
    like = replace(x, exact=False)
    curve = w.node("Softplus", [x], replace(like, bound=x.bound + 1))
    gate = w.node("Tanh", [curve], replace(like, bound=1.0))
    return w.node("Mul", [x, gate] if w.chance(0.5) else [gate, x], like)


def rms_norm(w: Writer) -> Value | None:
    x = w.value(lambda v: floating(v) and v.filled and v.rank >= 2 and (v.fixed[-1] or 0) >= 2
                and v.bound <= 16)  # fmt: skip
    if x is None:
        return None
    like = replace(x, exact=False, stored=False, bound=x.bound**2)
    square = w.node("Mul", [x, x], like)
    narrow = replace(like, shapes=replaced(x.shapes, x.rank - 1, (1, 1)))
    inputs = [square, w.ints(-1)] if w.opset >= 18 else [square]
    mean = w.node("ReduceMean", inputs, narrow, axes=None if w.opset >= 18 else [-1])
    more = w.node("Add", [mean, w.constant(np.array(0.01, np.float32))], narrow)
    root = w.node("Sqrt", [more], narrow)
    inverse = w.node("Reciprocal", [root], replace(narrow, bound=10.0))
    unit = w.node("Mul", [x, inverse], replace(like, bound=8.0))
    return w.node("Mul", [unit, w.weight(x.shapes[0][-1])], replace(like, bound=16.0))


def positions(w: Writer) -> Value | None:
    """Rows of a table, up to the length of the input."""
    x = w.value(lambda v: v.rank >= 2 and v.filled and all(s[1] <= 8 for s in v.shapes))
    if x is None:
        return None
    shape = sizes.shape_of(w, x)
    index = w.constant(np.array(1, np.int64))
    number = w.node("Gather", [shape, index], Value("", I64, ((), ())), axis=0)
    start, step = (w.constant(np.array(k, np.int64)) for k in (0, 1))
    lengths: Pair = ((x.shapes[0][1],), (x.shapes[1][1],))
    places = w.node("Range", [start, number, step], Value("", I64, lengths))
    table = w.weight(8, 4)
    rows: Pair = ((x.shapes[0][1], 4), (x.shapes[1][1], 4))
    return w.node("Gather", [table, places], Value("", F32, rows), axis=0) if small(rows) else None


STEPS: dict[Step, int] = {
    linear_block: 6, two_layers: 2, moves: 6, moved_through: 4, attention: 2, gathered_heads: 2,
    flattened_product: 1, mish: 1, rms_norm: 1, positions: 1,
}  # fmt: skip
"""How to write some nodes, and how often."""

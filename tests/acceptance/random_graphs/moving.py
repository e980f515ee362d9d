"""Operators that move data: layouts, slices, joins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from tests.acceptance.random_graphs.elementwise import BOOL, F32, I64, Step
from tests.acceptance.random_graphs.writer import Pair, Value, Writer, replaced, small


def moved(w: Writer, least: int = 1) -> Value | None:
    """What every one of these operators can take."""
    return w.value(lambda v: v.dtype in (F32, F32, I64, BOOL) and v.rank >= least and not v.stored)


def shaped(value: Value, pair: Pair) -> Value:
    return replace(value, shapes=pair, numbers=None)


def each(value: Value, change: Callable[[list[int]], Sequence[int]]) -> Pair:
    """The shape, changed in the same way in both worlds."""
    first, second = (tuple(change(list(shape))) for shape in value.shapes)
    return first, second


def transpose(w: Writer) -> Value | None:
    x = moved(w, 2)
    if x is None:
        return None
    if w.chance(0.1):
        return w.node("Transpose", [x], shaped(x, each(x, lambda s: s[::-1])))
    order = list(range(x.rank))
    w.random.shuffle(order)
    return w.node("Transpose", [x], shaped(x, each(x, lambda s: [s[i] for i in order])), perm=order)


def reshape(w: Writer) -> Value | None:
    """To a constant target: with zeros, with one -1, with allowzero."""
    x = moved(w)
    if x is None or not x.filled:
        return None
    target = _target(w, x)
    if target is None:
        return None
    entries, pair = target
    allow = 1 if w.opset >= 14 and 0 not in entries and w.chance(0.2) else None
    return w.node("Reshape", [x, w.ints(*entries)], shaped(x, pair), allowzero=allow)


def _target(w: Writer, x: Value) -> tuple[list[int], Pair] | None:
    fixed = x.fixed
    unknown = [i for i, size in enumerate(fixed) if size is None]
    kind = w.random.choice(("merge", "merge", "split", "flat", "same"))
    if kind == "flat":
        last = fixed[-1]
        if last is None or not last or w.chance(0.3):
            return [-1], each(x, lambda s: [int(np.prod(s))])
        return [-1, last], each(x, lambda s: [int(np.prod(s[:-1])), s[-1]])
    if kind == "same":
        entries = [0 if size is None or w.chance(0.3) else size for size in fixed]
        if 0 in fixed:
            return None
        if w.chance(0.3) and unknown[:1]:
            entries[unknown[0]] = -1
        return entries, x.shapes
    axis = w.random.randrange(x.rank)
    if kind == "split":
        size = fixed[axis]
        if not size or size % 2 or x.rank > 4:
            return None
        pair = each(x, lambda s: [*s[:axis], 2, s[axis] // 2, *s[axis + 1 :]])
    else:
        if axis + 1 >= x.rank:
            return None
        pair = each(x, lambda s: [*s[:axis], s[axis] * s[axis + 1], *s[axis + 2 :]])
    return _entries(w, x, pair)


def _entries(w: Writer, x: Value, pair: Pair) -> tuple[list[int], Pair] | None:
    """How the target may be written: 0 where the size stays, -1 once."""
    entries: list[int] = []
    for i, (a, b) in enumerate(zip(*pair, strict=True)):
        stays = i < x.rank and (x.shapes[0][i], x.shapes[1][i]) == (a, b)
        if a == b and not (stays and w.chance(0.3)):
            entries.append(a)
        elif stays and (-1 in entries or w.chance(0.7)):
            entries.append(0)
        elif -1 not in entries:
            entries.append(-1)
        else:
            return None
    if -1 not in entries and w.chance(0.2):
        entries[w.random.randrange(len(entries))] = -1
    return entries, pair


def flatten(w: Writer) -> Value | None:
    x = moved(w)
    if x is None:
        return None
    axis = w.random.randint(0, x.rank)
    pair = each(x, lambda s: [int(np.prod(s[:axis])), int(np.prod(s[axis:]))])
    return w.node("Flatten", [x], shaped(x, pair), axis=axis)


def unsqueeze(w: Writer) -> Value | None:
    x = moved(w, 0)
    if x is None or x.rank > 4:
        return None
    axis = w.random.randint(0, x.rank)
    told = axis - x.rank - 1 if w.chance(0.3) else axis
    return axes_form(w, "Unsqueeze", x, [told], each(x, lambda s: [*s[:axis], 1, *s[axis:]]))


def squeeze(w: Writer) -> Value | None:
    x = w.value(lambda v: v.dtype in (F32, I64, BOOL) and 1 in v.fixed and not v.stored)
    if x is None:
        return None
    axis = w.random.choice([i for i, size in enumerate(x.fixed) if size == 1])
    told = axis - x.rank if w.chance(0.3) else axis
    return axes_form(w, "Squeeze", x, [told], each(x, lambda s: [*s[:axis], *s[axis + 1 :]]))


def axes_form(w: Writer, op: str, x: Value, axes: list[int], pair: Pair) -> Value:
    """Axes are an input from opset 13 on."""
    if w.opset >= 13:
        return w.node(op, [x, w.ints(*axes)], shaped(x, pair))
    return w.node(op, [x], shaped(x, pair), axes=axes)


def concat(w: Writer) -> Value | None:
    x = moved(w)
    if x is None:
        return None
    axis = w.random.randrange(x.rank)

    beside = replaced(x.shapes, axis, (0, 0))

    def fits(v: Value) -> bool:
        alike = v.dtype == x.dtype and v.rank == x.rank
        return alike and replaced(v.shapes, axis, (0, 0)) == beside

    parts = [x]
    for _ in range(w.random.randint(0, 2)):
        other = w.value(fits)
        if other is not None:
            parts.append(other)
    w.random.shuffle(parts)
    first, second = (sum(v.shapes[i][axis] for v in parts) for i in (0, 1))
    pair = replaced(x.shapes, axis, (first, second))
    if not small(pair):
        return None
    like = replace(
        shaped(x, pair), exact=all(v.exact for v in parts), bound=max(v.bound for v in parts)
    )
    told = axis - x.rank if w.chance(0.3) else axis
    return w.node("Concat", parts, like, axis=told)


def split(w: Writer) -> Value | None:
    """Into parts, of which some or all are joined again, in order or not."""
    x = moved(w)
    if x is None:
        return None
    axes = [i for i, size in enumerate(x.fixed) if size is not None and size >= 2]
    if not axes:
        return None
    axis = w.random.choice(axes)
    size = x.shapes[0][axis]
    cut = w.random.randint(1, size - 1)
    sizes = [cut, size - cut]
    likes: list[Value | None] = [shaped(x, replaced(x.shapes, axis, (s, s))) for s in sizes]
    if w.opset >= 13:
        parts = w.nodes("Split", [x, w.ints(*sizes)], likes, axis=axis)
    else:
        parts = w.nodes("Split", [x], likes, axis=axis, split=sizes)
    if w.chance(0.5):
        if w.chance(0.3):
            parts = parts[::-1]
        return w.node("Concat", parts, x.named(""), axis=axis)
    return parts[-1]


def slices(w: Writer) -> Value | None:
    """One slice, or several of one tensor that share it out."""
    x = moved(w)
    if x is None:
        return None
    axis = w.random.randrange(x.rank)
    sizes = (x.shapes[0][axis], x.shapes[1][axis])
    if w.chance(0.5) and sizes[0] == sizes[1] >= 2:
        cuts = sorted({0, w.random.randint(1, sizes[0] - 1), sizes[0]})
        parts = [_slice(w, x, axis, a, b, 1) for a, b in pairwise(cuts)]
        if w.chance(0.5):
            return w.node("Concat", parts, x.named(""), axis=axis)
        return parts[0]
    start = w.random.choice((0, 0, 1, -1, -2))
    end = w.random.choice((1 << 62, -1, 2, 1 << 62))
    step = w.random.choice((1, 1, 1, 2, -1))
    if step < 0:
        start, end = -1, -(1 << 62)
    return _slice(w, x, axis, start, end, step)


def _slice(w: Writer, x: Value, axis: int, start: int, end: int, step: int) -> Value:
    first, second = (len(range(shape[axis])[start:end:step]) for shape in x.shapes)
    told = axis - x.rank if w.chance(0.2) else axis
    inputs: list[Value | str] = [x, w.ints(start), w.ints(end), w.ints(told)]
    if step != 1 or w.chance(0.2):
        inputs.append(w.ints(step))
    return w.node("Slice", inputs, shaped(x, replaced(x.shapes, axis, (first, second))))


def gather(w: Writer) -> Value | None:
    x = moved(w)
    if x is None:
        return None
    axis = w.random.randrange(x.rank)
    least = min(shape[axis] for shape in x.shapes)
    if not least:
        return None
    if w.chance(0.5):
        index = w.constant(np.array(w.random.randrange(-least, least), np.int64))
        return w.node(
            "Gather", [x, index], shaped(x, each(x, lambda s: s[:axis] + s[axis + 1 :])), axis=axis
        )
    numbers = [w.random.randrange(-least, least) for _ in range(w.random.randint(1, 3))]
    pair = replaced(x.shapes, axis, (len(numbers), len(numbers)))
    return w.node("Gather", [x, w.ints(*numbers)], shaped(x, pair), axis=axis)


def expand(w: Writer) -> Value | None:
    x = moved(w)
    if x is None:
        return None
    if w.chance(0.3):
        target = [1] * x.rank
    else:
        target = [
            size if size is not None and size > 1 else w.random.choice((1, 1, 3))
            for size in x.fixed
        ]
    target = [t if size else 1 for size, t in zip(x.fixed, target, strict=True)]
    if w.chance(0.3):
        target = [w.random.choice((1, 2)), *target]
    first, second = (np.broadcast_shapes(shape, tuple(target)) for shape in x.shapes)
    if not small((first, second)):
        return None
    return w.node("Expand", [x, w.ints(*target)], shaped(x, (first, second)))


def tile(w: Writer) -> Value | None:
    x = moved(w)
    if x is None or x.dtype == BOOL:
        return None
    repeats = [w.random.choice((1, 1, 2)) for _ in range(x.rank)]
    pair = each(x, lambda s: [a * b for a, b in zip(s, repeats, strict=True)])
    return w.node("Tile", [x, w.ints(*repeats)], shaped(x, pair)) if small(pair) else None


def pad(w: Writer) -> Value | None:
    x = w.value(lambda v: v.dtype == F32 and v.rank >= 1 and not v.stored)
    if x is None:
        return None
    before, after = ([w.random.choice((0, 0, 0, 1)) for _ in range(x.rank)] for _ in range(2))
    pair = each(x, lambda s: [a + b + c for a, b, c in zip(before, s, after, strict=True)])
    if not small(pair):
        return None
    inputs = [x, w.ints(*before, *after)]
    if w.chance(0.4):
        inputs.append(w.constant(np.array(w.random.choice((0.0, -0.0, 1.5)), np.float32)))
    return w.node("Pad", inputs, shaped(x, pair))


STEPS: dict[Step, int] = {
    transpose: 5, reshape: 5, flatten: 1, unsqueeze: 3, squeeze: 3, concat: 3, split: 3, slices: 4,
    gather: 3, expand: 3, tile: 1, pad: 2,
}  # fmt: skip
"""How to write a node, and how often."""

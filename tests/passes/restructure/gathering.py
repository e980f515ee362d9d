"""What the tests of simplify_gathers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto

from graphopt.passes.restructure.simplify_gathers import SimplifyGathers
from tests.build import parse
from tests.passes.fold.gridding import typed
from tests.passes.support import Array, Outcome, agree, random_feeds, run

GATHERS = SimplifyGathers()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
WORLDS = [{"N": 2, "C": 3, "M": 2}, {"N": 1, "C": 1, "M": 1}, {"N": 3, "C": 4, "M": 5}]
SIZES = """
    n1 = Shape <start = 0, end = 1> (x)
    c1 = Shape <start = 1, end = 2> (x)
    n = Squeeze(n1)
    c = Squeeze(c1)
    rows = Range(zero, n, one)
    cols = Range(zero, c, one)
"""
KNOWN = 6
"""Lines that SIZES makes."""


def i64(*values: Any) -> Array:
    return np.array(values, np.int64)


def f32(*shape: int) -> Array:
    return (np.arange(int(np.prod(shape))) - 2.5).astype(np.float32).reshape(shape)


BASE: dict[str, Any] = {
    "zero": np.int64(0), "one": np.int64(1), "two": np.int64(2), "a0": i64(0), "a1": i64(1),
    "a123": i64(1, 2, 3), "a012": i64(0, 1, 2), "back": i64(-1), "flat": i64(-1),
}  # fmt: skip


def simplified(
    nodes: str,
    inputs: str = "float[N,C] x",
    outputs: str = "y",
    worlds: Sequence[Mapping[str, int]] = WORLDS,
    **constants: Any,
) -> Outcome:
    """Run the pass; the answers must stay the same, bit by bit, for every choice of sizes."""
    text = f"{HEAD} g ({inputs}) => ({outputs}) {{ {SIZES} {nodes} }}"
    return checked(parse(text, **{**BASE, **constants}), worlds)


def checked(model: ModelProto, worlds: Sequence[Mapping[str, int]] = WORLDS) -> Outcome:
    outcome = run(typed(model), GATHERS)
    assert outcome.left_out == []
    feeds = [random_feeds(model, seed, sizes) for seed, sizes in enumerate(worlds)]
    agree(outcome.before, outcome.after, feeds, exact=True)
    return outcome


def operators(outcome: Outcome) -> list[str]:
    """The operators behind the sizes, without nodes that nothing reads."""
    found = [line.split(" = ") for line in outcome.lines[KNOWN:]]
    read = {name for _, call in found for name in call.rstrip(")").split("(")[1].split(", ")}
    outputs = {info.name for info in outcome.after.graph.output}
    return [call.split("(")[0] for name, call in found if name in read | outputs]


TUPLES = """
    r4 = Unsqueeze(rows, a123)
    q4 = Unsqueeze(cols, a012)
    m = Max(r4, q4)
    s = Shape(m)
    re = Expand(r4, s)
    qe = Expand(q4, s)
    r5 = Unsqueeze(re, back)
    q5 = Unsqueeze(qe, back)
    tuples = Concat <axis = -1> (r5, q5)
"""

FLAT = """
    r4 = Unsqueeze(rows, a123)
    q4 = Unsqueeze(cols, a012)
    from = Mul(r4, c)
    places = Add(from, q4)
    f = Flatten <axis = 2> (x)
    g = Gather(f, places)
    s = Shape(places)
    r1 = Reshape(g, flat)
    y = Reshape(r1, s)
"""

BODY = """
    n1 = Shape <start = 0, end = 1> (x)
    n = Squeeze(n1)
    r = Range(zero, n, one)
    i = Unsqueeze(r, first)
    g = Gather(x, i)
    k = Gather(table, i)
    d = Add(g, k)
    y = Squeeze(d, first)
"""

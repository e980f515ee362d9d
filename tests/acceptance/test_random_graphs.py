"""Recipe `exact` keeps the answers of random graphs, with nobody to take a wrong rewrite back.

Verification is off: what a pass does wrongly shows here. Each model runs in ONNX Runtime with its
own optimisations off, on two input sets of different sizes. `GRAPHOPT_RANDOM_GRAPHS=N` tries N
models beyond the suite's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto

import graphopt
from graphopt.contract import Context, Effect, GraphView, NodeView, Skip
from graphopt.engine import Recipe
from graphopt.passes.eliminate import eliminate_identity as identity
from tests.acceptance.random_graphs import Drawn, draw_model
from tests.passes.support import answers

MORE = int(os.environ.get("GRAPHOPT_RANDOM_GRAPHS", "0"))
TOLERANCE = 1e-4
"""Of the largest value, or of 1: what is smaller than that came of larger ones."""
NOISE_FACTOR = 30
QUICK = settings(
    max_examples=80, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def check(drawn: Drawn, recipe: str | Recipe = "exact") -> ModelProto:
    """Optimise the model and compare; give the result."""
    onnx.checker.check_model(drawn.model, full_check=True)
    expected = [answers(drawn.model, feeds, reference=False) for feeds in drawn.feeds]
    result = graphopt.optimize(drawn.model, recipe, verify=False)
    assert not result.report.left_out
    after = result.model.proto
    onnx.checker.check_model(after, full_check=True)
    count = sum(1 for _ in _nodes(drawn.model))
    assert sum(1 for _ in _nodes(after)) <= count
    assert _signature(after) == _signature(drawn.model)
    for feeds, before in zip(drawn.feeds, expected, strict=True):
        found = answers(after, feeds, reference=False)
        for info, a, b in zip(drawn.model.graph.output, before, found, strict=True):
            problem = difference(a, b)
            if problem and not excused(drawn, feeds, info.name, a, b):
                raise AssertionError(f"{info.name}: {problem}")
    return after


def difference(expected: Any, found: Any) -> str:
    if (expected.dtype, expected.shape) != (found.dtype, found.shape):
        return f"{expected.dtype}{expected.shape} became {found.dtype}{found.shape}"
    if expected.dtype.kind != "f":
        return "" if np.array_equal(expected, found) else "values differ"
    wide, other = expected.astype(np.float64), found.astype(np.float64)
    finite = np.isfinite(wide)
    if not np.array_equal(wide[~finite], other[~finite], equal_nan=True):
        return "NaN or infinity in one of them"
    if not np.isfinite(other[finite]).all():
        return "NaN or infinity in the result alone"
    scale = max(np.abs(wide[finite]).max(initial=0.0), 1.0)
    far = np.abs(wide[finite] - other[finite]).max(initial=0.0) / scale
    return f"differs by {far:.3g}" if far > (4e-3 if expected.itemsize == 2 else TOLERANCE) else ""


def excused(drawn: Drawn, feeds: dict[str, Any], name: str, a: Any, b: Any) -> bool:
    """Whether the original moves about as far when its inputs move by a millionth."""
    if a.shape != b.shape or a.dtype.kind != "f" or not np.isfinite(a).all():
        return False
    moved = {k: v * np.float32(1 + 1e-6) if v.dtype.kind == "f" else v for k, v in feeds.items()}
    index = [info.name for info in drawn.model.graph.output].index(name)
    other = answers(drawn.model, moved, reference=False)[index]
    return bool(np.abs(a - b).max() <= NOISE_FACTOR * np.abs(a - other).max())


def _nodes(model: ModelProto) -> Any:
    pending = [*model.graph.node, *(node for f in model.functions for node in f.node)]
    while pending:
        node = pending.pop()
        if node.op_type != "Constant":
            yield node
        pending += [inner for a in node.attribute for inner in a.g.node]


def _signature(model: ModelProto) -> list[tuple[str, int]]:
    return [
        (info.name, info.type.tensor_type.elem_type)
        for info in [*model.graph.input, *model.graph.output]
    ]


@QUICK
@given(st.integers(0, 1 << 40), st.integers(3, 24))
def test_the_answers_stay(seed: int, most_nodes: int) -> None:
    check(draw_model(Random(seed), most_nodes))


@settings(QUICK, max_examples=30)
@given(st.integers(0, 1 << 40), st.integers(3, 16))
def test_identical_keeps_every_bit(seed: int, most_nodes: int) -> None:
    """Signs of zeros, infinities and where a NaN comes out included."""
    drawn = draw_model(Random(seed), most_nodes)
    after = graphopt.optimize(drawn.model, "identical", verify=False).model.proto
    for feeds in (*drawn.feeds, *(wild(one, seed) for one in drawn.feeds)):
        pairs = zip(
            *(answers(m, feeds, reference=False) for m in (drawn.model, after)), strict=True
        )
        for expected, found in pairs:
            assert bits(expected) == bits(found)


def wild(feeds: dict[str, Any], seed: int) -> dict[str, Any]:
    """The same, with values among them that few think of."""
    rng = np.random.default_rng(seed)
    changed = {}
    for name, array in feeds.items():
        flat = array.reshape(-1).copy()
        if array.dtype.kind == "f" and flat.size:
            for value in (np.nan, np.inf, -np.inf, -0.0, 0.0, 1e38, 1e-40):
                flat[rng.integers(flat.size)] = value
        changed[name] = flat.reshape(array.shape)
    return changed


def bits(array: Any) -> tuple[Any, ...]:
    """Type, shape and bytes; one NaN is as good as another."""
    held = np.where(array != array, np.nan, array).astype(array.dtype)
    return array.dtype, array.shape, held.tobytes()


@pytest.mark.whole
@settings(QUICK, max_examples=2000)
@given(st.integers(0, 1 << 40), st.integers(3, 40))
def test_the_answers_of_many_stay(seed: int, most_nodes: int) -> None:
    check(draw_model(Random(seed), most_nodes))


@pytest.mark.skipif(not MORE, reason="GRAPHOPT_RANDOM_GRAPHS is not set")
@settings(QUICK, max_examples=max(MORE, 1), derandomize=False)
@given(st.integers(0, 1 << 40), st.integers(3, 40))
def test_the_answers_of_others_stay(seed: int, most_nodes: int) -> None:
    check(draw_model(Random(seed), most_nodes))


def test_the_vocabulary_is_drawn() -> None:
    """Models run before anything is done to them, and hold every kind of operator."""
    ops: set[str] = set()
    for seed in range(250):
        ops |= draw_model(Random(seed), 24).ops
    assert len(ops) >= 80
    assert {"If", "Loop", "LSTM", "piece", "Conv", "BatchNormalization", "Range"} <= ops


def test_one_seed_is_one_model() -> None:
    one, two = (draw_model(Random(7)).model.SerializeToString() for _ in range(2))
    assert one == two


def test_a_difference_would_be_seen() -> None:
    drawn = draw_model(Random(0))
    a = np.ones((2, 2), np.float32)
    assert difference(a, a + np.float32(1e-3))
    assert difference(a, a[:1]) and difference(a, a.astype(np.float64))
    assert difference(a, np.full_like(a, np.nan)) and not difference(a, a + np.float32(1e-6))
    assert not excused(drawn, drawn.feeds[0], drawn.model.graph.output[0].name, a, a[:1])


@dataclass(frozen=True)
class DropSigns:
    """A wrong pass: it takes Relu, Abs and Neg for the identity."""

    name: ClassVar[str] = "eliminate_identity"
    effect: ClassVar[Effect] = Effect.IDENTICAL
    roots: ClassVar[tuple[str, ...]] = ("Relu", "Abs", "Neg")

    def match(
        self, node: NodeView, graph: GraphView, context: Context
    ) -> identity.Found | Skip | None:
        before, after = node.inputs[0], node.outputs[0]
        assert before is not None and after is not None
        return after.replaceable_by(before) or identity.Found(node, before, after)

    rewrite = identity.EliminateIdentity.rewrite


def test_a_wrong_pass_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the models in which it does something show it."""
    monkeypatch.setattr(identity, "EliminateIdentity", DropSigns)
    drawn = [d for d in map(draw_model, map(Random, range(60))) if {"Relu", "Abs", "Neg"} & d.ops]
    seen = 0
    for one in drawn:
        try:
            check(one)
        except AssertionError:
            seen += 1
    assert seen >= len(drawn) / 3

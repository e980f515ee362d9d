"""fuse_gather_affine: arithmetic with a constant row goes into the table that rows come from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.contract import Effect
from graphopt.passes.fuse.fuse_gather_affine import FuseGatherAffine
from tests.build import few, parse
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed
from tests.passes.support import Array, Outcome, agree, random_feeds, run

FUSE = FuseGatherAffine()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
IDS = "int64[N,C] ids"
WORLDS = [{"N": 2, "C": 3}, {"N": 1, "C": 1}, {"N": 0, "C": 4}]


def table(*shape: int) -> Array:
    made = np.random.default_rng(7).standard_normal(shape).astype(np.float32)
    special = np.array([-0.0, np.inf, np.nan, 1e-42], np.float32)
    made.ravel()[:4] = special[: made.size]
    return made


def fused(graph: str | ModelProto, **constants: Any) -> Outcome:
    """Run the pass; the answers must stay the same, bit by bit."""
    model = parse(HEAD + graph, **constants) if isinstance(graph, str) else graph
    outcome = run(model, FUSE)
    assert outcome.left_out == []
    feeds = [random_feeds(model, seed, sizes) for seed, sizes in enumerate(WORLDS)]
    agree(outcome.before, outcome.after, feeds, exact=True)
    return outcome


def test_effect() -> None:
    assert FUSE.effect is Effect.IDENTICAL


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 1, 3), (1, 1, 1)])
def test_a_row(operator: str, shape: tuple[int, ...], *, turned: bool) -> None:
    operands = "row, g" if turned else "g, row"
    outcome = fused(
        f"g ({IDS}) => (float[N,C,3] y) {{ g = Gather(rows, ids) y = {operator}({operands}) }}",
        rows=table(5, 3), row=np.full(shape, -0.3, np.float32),
    )  # fmt: skip
    assert outcome.lines == ["y = Gather(rows_1, ids)"]


@pytest.mark.parametrize("shape", [(4,), (3, 1), (3, 4), (1, 3, 4), (1, 1, 3, 1)])
def test_rows_that_are_matrices(shape: tuple[int, ...]) -> None:
    outcome = fused(
        f"g ({IDS}) => (float[N,C,3,4] y) {{ g = Gather(rows, ids) y = Mul(g, row) }}",
        rows=table(5, 3, 4), row=table(4, 3, 4)[0].ravel()[: int(np.prod(shape))].reshape(shape),
    )  # fmt: skip
    assert len(outcome.lines) == 1


@pytest.mark.parametrize(("kind", "dtype"), [("int32", "i4"), ("int64", "i8"), ("double", "f8")])
def test_types(kind: str, dtype: str) -> None:
    """Integers wrap around in the table as they did behind it."""
    large = 1e300 if dtype == "f8" else np.iinfo(dtype).max
    outcome = fused(
        f"g ({IDS}) => ({kind}[N,C] y) {{ g = Gather(rows, ids) y = Mul(g, row) }}",
        rows=np.array([large, 1, 2, 3, 4], dtype), row=np.array(3, dtype),
    )  # fmt: skip
    assert len(outcome.lines) == 1


def test_one_after_the_other() -> None:
    outcome = fused(
        f"g ({IDS}) => (float[N,C,3] y) {{ g = Gather(rows, ids) h = Mul(g, a) y = Add(b, h) }}",
        rows=table(5, 3), a=np.float32(8), b=table(3),
    )  # fmt: skip
    assert len(outcome.lines) == 1


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ("g = Gather(rows, ids) y = Add(g, column)", "float[N,C,3] y"),  # one for each token
        ("g = Gather(rows, ids) y = Add(g, deep)", "float[?,N,C,3] y"),
        ("g = Gather <axis = 1> (wide, ids) y = Add(g, one)", "float[5,N,C] y"),
        ("g = Gather(rows, ids) y = Add(g, row) z = Neg(g)", "float[N,C,3] y, float[N,C,3] z"),
        ("g = Gather(rows, ids) y = Add(g, row)", "float[N,C,3] y, float[N,C,3] g"),
        ("g = Gather(rows, ids) y = Add(g, row) z = Neg(rows)", "float[N,C,3] y, float[5,3] z"),
        ("g = Gather(rows, ids) y = Div(g, row)", "float[N,C,3] y"),
        ("g = Gather(rows, ids) y = Add(g, g)", "float[N,C,3] y"),
        ("t = Neg(rows) g = Gather(t, ids) y = Add(g, row)", "float[N,C,3] y"),
        ("g = Gather(thin, ids) y = Add(g, row)", "float[N,C,3] y"),  # rows become wider
    ],
)
def test_refusals(nodes: str, outputs: str) -> None:
    model = parse(
        f"{HEAD} g (int64[N,C] ids) => ({outputs}) {{ {nodes} }}",
        rows=table(5, 3), wide=table(5, 4), thin=table(5, 1), row=table(3), one=table(1),
        column=table(2, 2, 1)[:1, :1] * np.ones((1, 3, 1), np.float32), deep=table(1, 1, 1, 3),
    )  # fmt: skip
    outcome = run(model, FUSE)
    assert outcome.unchanged
    agree(outcome.before, outcome.after, [random_feeds(model, 0, {"N": 2, "C": 3})], exact=True)


def test_half_precision_is_left_alone() -> None:
    """Runtimes may compute it in another precision."""
    model = parse(
        f"{HEAD} g ({IDS}) => (float16[N,C,3] y) {{ g = Gather(rows, ids) y = Add(g, row) }}",
        rows=table(5, 3).astype(np.float16), row=table(3).astype(np.float16),
    )  # fmt: skip
    assert run(model, FUSE).unchanged


def test_an_overridable_table() -> None:
    model = parse(
        f"{HEAD} g ({IDS}, float[5,3] rows) => (float[N,C,3] y) {{"
        " g = Gather(rows, ids) y = Add(g, row) }",
        rows=table(5, 3), row=table(3),
    )  # fmt: skip
    assert run(model, FUSE).unchanged


def test_before_opset_7_operands_are_aligned_otherwise() -> None:
    head = '<ir_version: 3, opset_import: ["" : 6]>'
    graph = (
        "g (int64[N] ids, float[5,3] r, float[3] w) => (float[N,3] y) {"
        " rows = Constant <value = float[5,3] {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6}> ()"
        " row = Constant <value = float[3] {1,2,3}> ()"
        " g = Gather(rows, ids) y = Add <broadcast = 1> (g, row) }"
    )
    assert run(parse(head + graph), FUSE).unchanged


def test_constant_nodes() -> None:
    outcome = fused(
        f"g ({IDS}) => (float[N,C,2] y) {{"
        " rows = Constant <value = float[5,2] {1,2,3,4,5,6,7,8,9,10}> ()"
        " row = Constant <value = float[2] {1,2}> ()"
        " g = Gather(rows, ids) y = Mul(g, row) }"
    )
    assert outcome.lines[-1] == "y = Gather(rows_1, ids)"


BODY = "i = Cast <to = 7> (x)\nj = Clip(i, low, high)\ng = Gather(rows, j)\ny = Mul(g, row)"
CONSTANTS: dict[str, Array] = {
    "low": np.array(0), "high": np.array(4), "rows": table(5, 3), "row": table(2, 3)[1],
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("captured", [False, True])
def test_everywhere(place: Place, *, captured: bool) -> None:
    if captured and place not in GRAPHS:
        return
    model = placed(place, BODY, CONSTANTS, y="float[2,3,3]", captured=captured)
    outcome = run(model, FUSE)
    assert outcome.left_out == []
    agree(outcome.before, outcome.after, exact=True)
    if place != "function":  # shapes in functions are not known
        assert not any("Mul" in line for line in piece(outcome.after, place))


@few
@given(
    st.lists(st.sampled_from([1, 3]), min_size=0, max_size=3),
    st.lists(st.sampled_from([1, 3]), min_size=0, max_size=5),
    st.sampled_from(["Add", "Sub", "Mul"]),
    st.booleans(),
)
def test_random_shapes(row: list[int], shape: list[int], operator: str, turned: bool) -> None:
    rank = max(2 + len(row), len(shape))
    operands = "b, g" if turned else "g, b"
    outcome = fused(
        f"g (int64[3,3] ids) => (float[{','.join('?' * rank)}] y) {{"
        f" g = Gather(rows, ids) y = {operator}({operands}) }}",
        rows=table(4, *row), b=table(4, *shape)[1].reshape(shape),
    )  # fmt: skip
    if not shape:
        assert len(outcome.lines) == 1

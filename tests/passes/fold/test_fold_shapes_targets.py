"""fold_shapes: targets of Reshape and Expand, with 0, -1 and 1 where sizes stay open."""

from __future__ import annotations

from itertools import product as combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.passes.fold.fold_shapes import FoldShapes
from tests.build import few, parse
from tests.passes.support import Array, Outcome, agree, answers, random_feeds, run

FOLD = FoldShapes()
HEAD = '<ir_version: 10, opset_import: ["" : {opset}]>'
TWO_OPEN = {"more than one dimension of the target is open": 1}
PARTS = {
    "N": "Shape <end = 1> (x)",
    "C": "Shape <start = 1, end = 2> (x)",
    "H": "Shape <start = 2, end = 3> (x)",
    "CH": "Mul(C, H)",
    "NC": "Mul(N, C)",
    "N2": "Mul(N, two)",
    "half": "Div(N, two)",
    "other": "Shape(z)",
}
"""One-element pieces of a target; the letters are the sizes of x."""


def i64(*values: Any) -> Array:
    return np.array(values, np.int64)


def to(operator: str, target: str, x: str, *, opset: int = 18, attributes: str = "") -> ModelProto:
    """A model whose node reshapes or expands x to a target put together from pieces."""
    names = target.split()
    lines = [f"{name} = {text}" for name, text in PARTS.items()]
    entries = [name if name in PARTS else f"k{i}" for i, name in enumerate(names)]
    lines += [f"t = Concat <axis = 0> ({', '.join(entries)})"]
    lines += [f"y = {operator} {attributes} (x, t)"]
    constants = {f"k{i}": i64(int(n)) for i, n in enumerate(names) if n not in PARTS}
    rank = len(names) if operator == "Reshape" else max(len(names), len(x.split(",")))
    y = ",".join("?" * rank)
    text = HEAD.format(opset=opset) + f"g (float[{x}] x, float[W] z) => (float[{y}] y) {{"
    return parse(text + "\n".join(lines) + "}", two=i64(2), **constants)


def target_of(outcome: Outcome) -> list[int] | None:
    """The constant that the last node reads now; None where its target is computed still."""
    name = outcome.after.graph.node[-1].input[1]
    found = outcome.weights.get(name)
    return None if found is None else [int(entry) for entry in found]


def same(outcome: Outcome, *worlds: dict[str, int]) -> None:
    """Where the original gives an answer, the result gives the same."""
    for seed, sizes in enumerate(worlds):
        feeds = random_feeds(outcome.before, seed, {"W": 3, **sizes})
        try:
            answers(outcome.before, feeds, reference=False)
        except Exception as error:
            assert type(error).__module__.startswith("onnxruntime"), error
            continue
        agree(outcome.before, outcome.after, [feeds], exact=True)


WORLDS = [dict(zip("NCH", sizes, strict=True)) for sizes in combinations((0, 1, 2, 6), repeat=3)]

FULL = [sizes for sizes in WORLDS if all(sizes.values())]
"""Where a target holds a -1, and 0 is a size of its own, ONNX has no word on empty tensors."""

RESHAPES: list[tuple[str, str, list[int] | None]] = [
    ("N,4,6", "N 24", [0, 24]),
    ("N,4,6", "N2 12", [-1, 12]),
    ("N,4,6", "24 N", [24, -1]),
    ("N,4,6", "N 3 8", [0, 3, 8]),
    ("N,4,6", "N -1", [0, 24]),
    ("N,4,6", "-1 24", [-1, 24]),
    ("N,4,6", "0 -1", [0, -1]),
    ("N,4,6", "4 N 6", [4, -1, 6]),
    ("N,C,H", "N C H", [0, 0, 0]),
    ("N,C,H", "N -1", [0, -1]),
    ("N,C,H", "0 0 -1", [0, 0, -1]),
    ("N,C,H", "N 0 -1", [0, 0, 0]),
    ("N,C,H", "N C H 1", [0, 0, 0, 1]),
    ("N,C,6", "N C 2 3", [0, 0, 2, 3]),
    ("N,C,6", "NC 6", [-1, 6]),
    ("N,C,6", "-1 6", [-1, 6]),
    ("C,N,6", "C 6 N", None),
    ("N,C,H", "NC H", None),
    ("N,C,H", "N CH", None),
    ("N,C,H", "C N H", None),
    ("N,C,H", "H -1", None),
    ("N,4,6", "half 48", [-1, 48]),
    ("N,4,6", "N half -1", None),
    ("4,C,6", "24 C", [24, 0]),
    ("4,C,6", "C 24", [-1, 24]),
    ("4,C,6", "C -1", None),
    ("1,C,6", "1 C 6", [1, 0, 6]),
]


@pytest.mark.parametrize(("x", "target", "expected"), RESHAPES)
def test_reshape(x: str, target: str, expected: list[int] | None) -> None:
    outcome = run(to("Reshape", target, x), FOLD)
    assert outcome.left_out == []
    same(outcome, *WORLDS)
    assert target_of(outcome) == expected


@pytest.mark.parametrize("sizes", [{"N": 0, "C": 2, "H": 3}, {"N": 2, "C": 2, "H": 3}])
@pytest.mark.parametrize(
    ("x", "target"),
    [
        ("N,C,H", "-1 CH"),
        ("N,C,H", "N CH"),
        ("N,C,H", "N -1"),
        ("N,C,H", "-1 C H"),
        ("N,C,6", "-1 6 C"),
        ("N,2,H", "-1 H"),
        ("N,C,2", "N C 1 2"),
    ],
)
def test_empty_batches(x: str, target: str, sizes: dict[str, int]) -> None:
    """Beside a 0 that copies nothing, a -1 has no answer: it is put only where one was."""
    outcome = run(to("Reshape", target, x), FOLD)
    feeds = random_feeds(outcome.before, 0, {"W": 3, **sizes})
    expected: Any = None
    try:
        expected = answers(outcome.before, feeds, reference=False)
    except Exception:
        assert target == "N -1"
        return
    agree(outcome.before, outcome.after, [feeds], exact=True)
    assert expected[0].shape[0] in (0, 2, 4, 6)


@pytest.mark.parametrize(
    ("x", "target", "expected"),
    [
        ("N,4,6", "N 24", [0, 24]),
        ("N,4,6", "N 4 6", [0, 4, 6]),
        ("N,C,H", "N C H", [0, 0, 0]),
        ("N,C,6", "N C 6", [0, 0, 6]),
        ("N,C,6", "N C -1", [0, 0, 6]),
        ("N,C,6", "N -1", [0, -1]),
        ("N,C,6", "C N 6", None),
        ("N,4,6", "N2 -1", [-1, 12]),
        ("N,4,0", "0 N", None),
        ("N,4,6", "-1 24", [-1, 24]),
    ],
)
def test_reshape_with_allowzero(x: str, target: str, expected: list[int] | None) -> None:
    """Where the model writes a 0 itself, that is a size; where it does not, 0 may copy."""
    outcome = run(to("Reshape", target, x, attributes="<allowzero = 1>"), FOLD)
    found = target_of(outcome)
    kept = outcome.after.graph.node[-1].attribute
    assert found is None or 0 not in found or not kept or target == "0 N"
    if "0" not in x.split(","):
        same(outcome, *(FULL if "-1" in target else WORLDS))
    assert found == expected


@pytest.mark.parametrize("opset", [14, 19, 22])
def test_every_opset_of_reshape(opset: int) -> None:
    """Shape in opset 13 and below has no start and end: see the test below."""
    model = to("Reshape", "N -1", "N,4,6", opset=max(opset, 15))
    outcome = run(model, FOLD)
    assert target_of(outcome) == [0, 24]


@pytest.mark.parametrize("opset", [5, 7, 11, 13])
def test_reshape_of_earlier_opsets(opset: int) -> None:
    text = (
        HEAD.format(opset=opset)
        + """g (float[N,4,6] x) => (float[?,?] y) {
        s = Shape(x) n = Gather(s, z) t = Concat <axis = 0> (n, k)
        y = Reshape(x, t) }"""
    )
    outcome = run(parse(text, z=i64(0), k=i64(24)), FOLD)
    assert outcome.left_out == []
    assert target_of(outcome) == [0, 24]
    if opset >= 7:
        agree(outcome.before, outcome.after, exact=True)


def test_reshape_whose_shape_is_an_attribute() -> None:
    """Opset 1 to 4: there is no second input."""
    text = HEAD.format(opset=4) + "g (float[N,4] x) => (float[4,2] y) {{ y = {}(x) }}"
    assert run(parse(text.format("Reshape <shape = [4, 2]> ")), FOLD).unchanged


EXPANDS: list[tuple[str, str, list[int] | None]] = [
    ("N,1,6", "N 4 6", [1, 4, 6]),
    ("N,C,H", "N C H", [1, 1, 1]),
    ("N,C,H", "5 N C H", [5, 1, 1, 1]),
    ("N,C,6", "C 6", [1, 6]),
    ("N,C,H", "N 1 1", [1, 1, 1]),
    ("1,C,H", "other C H", None),
    ("N,C,H", "other N C H", None),
    ("N,C,H", "C C H", None),
    ("N,C,6", "other", None),
]


@pytest.mark.parametrize(("x", "target", "expected"), EXPANDS)
def test_expand(x: str, target: str, expected: list[int] | None) -> None:
    outcome = run(to("Expand", target, x), FOLD)
    assert outcome.left_out == []
    same(outcome, *WORLDS)
    assert target_of(outcome) == expected
    assert outcome.skipped == ({} if expected is not None else TWO_OPEN)


ENTRIES = st.sampled_from([*PARTS, "-1", "0", "1", "2", "6"])
SOURCES = st.sampled_from(["N,C,H", "N,C,6", "N,2,6", "2,N,C", "1,N,6"])


@settings(few, max_examples=60)
@given(
    SOURCES,
    st.lists(ENTRIES, min_size=1, max_size=4),
    st.sampled_from(["Reshape", "Reshape allowzero", "Expand"]),
)
def test_any_target(x: str, target: list[str], operator: str) -> None:
    name, _, attribute = operator.partition(" ")
    model = to(name, " ".join(target), x, attributes=f"<{attribute} = 1>" if attribute else "")
    outcome = run(model, FOLD)
    assert outcome.left_out == []
    same(outcome, *(FULL[::3] if attribute and "-1" in target else WORLDS[::5]))


def test_a_target_that_two_nodes_read() -> None:
    """Each gets its own: what is copied depends on what is reshaped."""
    text = """g (float[N,C,6] x, float[C,N,6] v) => (float[?,?,?] a, float[?,?,?] b, int64[3] t) {
        s = Shape(x) t = Identity(s) a = Reshape(x, t) b = Reshape(v, t) }"""
    outcome = run(parse(HEAD.format(opset=18) + text), FOLD)
    same(outcome, {"N": 2, "C": 3}, {"N": 1, "C": 4})
    assert outcome.lines[2:] == ["a = Reshape(x, t_1)", "b = Reshape(v, t)"]
    np.testing.assert_array_equal(outcome.weights["t_1"], i64(0, 0, 6))


def test_a_target_that_nobody_knows() -> None:
    text = "g (float[N,C,6] x, int64[2] t) => (float[?,?] y) { y = Reshape(x, t) }"
    outcome = run(parse(HEAD.format(opset=18) + text), FOLD)
    assert (outcome.unchanged, outcome.skipped) == (True, {})

"""fuse_transposes: two permutations as one, what stands between them, and where nothing stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.passes.fuse.fuse_transposes import FuseTransposes
from tests.build import few, parse
from tests.passes.fuse.fused import refused
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed, scope_of
from tests.passes.support import agree, run

FUSE = FuseTransposes()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
X = "float[2,3,4]"
SIZES = (2, 3, 4)
ELSEWHERE = "what lies between is read elsewhere"
NOT_PLAIN = "the first transpose is not a plain one beside the second"
RANK = "the rank is not known"
INPUT = "a graph output would become an input or an initializer"


def perm_of(model: ModelProto, place: Place) -> list[int]:
    """The permutation of the one Transpose that is left."""
    (node,) = (n for n in scope_of(model, place).node if n.op_type == "Transpose")
    return list(node.attribute[0].ints)


@pytest.mark.parametrize("place", PLACES)
def test_fuses(place: Place) -> None:
    body = "a = Transpose <perm = [1, 2, 0]> (x)\nb = Transpose <perm = [0, 2, 1]> (a)\ny = Neg(b)"
    outcome = run(placed(place, body, x=X, y="float[3,2,4]"), FUSE)
    assert piece(outcome.after, place) == ["b = Transpose(x)", "y = Neg(b)"]
    assert perm_of(outcome.after, place) == [1, 0, 2]
    assert (outcome.rewrites, outcome.skipped, outcome.left_out) == (1, {}, [])
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("place", PLACES)
def test_they_undo_each_other(place: Place) -> None:
    """Neither perm is its own inverse."""
    body = "a = Transpose <perm = [1, 2, 0]> (x)\nb = Transpose <perm = [2, 0, 1]> (a)\ny = Neg(b)"
    outcome = run(placed(place, body, x=X), FUSE)
    assert piece(outcome.after, place) == ["y = Neg(x)"]
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("place", PLACES)
def test_the_same_one_twice_is_another_one(place: Place) -> None:
    body = "a = Transpose <perm = [1, 2, 0]> (x)\nb = Transpose <perm = [1, 2, 0]> (a)\ny = Neg(b)"
    outcome = run(placed(place, body, x=X, y="float[4,2,3]"), FUSE)
    assert perm_of(outcome.after, place) == [2, 0, 1]
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize(
    ("first", "second", "left"),
    [
        ("", "", None),
        ("", " <perm = [1, 0, 2]>", [1, 2, 0]),
        (" <perm = [1, 0, 2]>", "", [2, 0, 1]),
        (" <perm = [2, 1, 0]>", "", None),
    ],
)
def test_a_permutation_left_out_reverses(
    first: str, second: str, left: list[int] | None, place: Place
) -> None:
    body = f"a = Transpose{first} (x)\nb = Transpose{second} (a)\ny = Neg(b)"
    y = f"float[{','.join(str(SIZES[axis]) for axis in left or range(3))}]"
    outcome = run(placed(place, body, x=X, y=y), FUSE)
    assert piece(outcome.after, place) == (["b = Transpose(x)"] if left else []) + [
        "y = Neg(b)" if left else "y = Neg(x)"
    ]
    if left:
        assert perm_of(outcome.after, place) == left
    agree(outcome.before, outcome.after, exact=True)


def test_reversing_an_unknown_number_of_axes() -> None:
    body = "a = Transpose(x)\nb = Transpose <perm = [1, 0, 2]> (a)\ny = Neg(b)"
    refused(placed("function", body, x=X, y="float[?,?,?]"), FUSE, RANK)


@pytest.mark.parametrize("x", ["float", "float[3]", "float[0,2]", "float[N,M]"])
def test_other_ranks_and_sizes(x: str) -> None:
    outcome = run(placed("main", "a = Transpose(x)\nb = Transpose(a)\ny = Neg(b)", x=x), FUSE)
    assert outcome.lines == ["y = Neg(x)"]


@pytest.mark.parametrize("kind", ["string", "bool", "int8", "bfloat16"])
@pytest.mark.parametrize("opset", [1, 13, 21])
def test_any_type_and_opset(kind: str, opset: int) -> None:
    if kind == "bfloat16" and opset < 13:
        return
    body = "a = Transpose <perm = [1, 0]> (x)\nb = Transpose(a)\ny = Concat <axis = 0> (b, b)"
    x, y = f"{kind}[2,3]", f"{kind}[4,3]"
    outcome = run(placed("main", body, x=x, y=y, opset=opset), FUSE)
    assert outcome.lines == ["y = Concat(x, x)"]


@pytest.mark.parametrize("place", PLACES)
def test_the_result_is_a_graph_output(place: Place) -> None:
    body = "a = Transpose <perm = [1, 2, 0]> (x)\ny = Transpose <perm = [0, 2, 1]> (a)"
    outcome = run(placed(place, body, x=X, y="float[3,2,4]"), FUSE)
    assert piece(outcome.after, place) == ["y = Transpose(x)"]
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("place", PLACES)
def test_a_graph_output_gets_another_producer(place: Place) -> None:
    body = "n = Neg(x)\na = Transpose(n)\ny = Transpose <perm = [2, 1, 0]> (a)"
    if place == "function":
        body = body.replace("Transpose(n)", "Transpose <perm = [2, 1, 0]> (n)")
    outcome = run(placed(place, body, x=X), FUSE)
    assert piece(outcome.after, place) == ["y = Neg(x)"]
    agree(outcome.before, outcome.after, exact=True)


def test_a_graph_output_needs_a_producer() -> None:
    refused(placed("main", "a = Transpose(x)\ny = Transpose(a)", x=X), FUSE, INPUT)
    outer = "a graph output cannot come from an enclosing graph"
    refused(placed("if", "a = Transpose(x)\ny = Transpose(a)", x=X), FUSE, outer)


REFUSED: dict[str, tuple[str, str | None]] = {
    "another reader": ("a = Transpose(x)\nb = Transpose(a)\nc = Transpose(b)\nd = Neg(a)\n"
                       "e = Abs(b)\nf = ReduceSum(d)\ng = ReduceSum(e)\n"
                       "h = ReduceSum(c)\ni = Sum(f, g, h)\ny = Mul(x, i)", ELSEWHERE),
    "two of one": ("a = Transpose <perm = [0, 2, 1]> (x)\nb = Transpose <perm = [0, 2, 1]> (a)\n"
                   "c = Transpose <perm = [0, 2, 1]> (a)\ny = Sub(b, c)", ELSEWHERE),
    "no transpose before": ("a = Neg(x)\nb = Transpose <perm = [0, 2, 1]> (a)\n"
                            "c = ReduceSum <keepdims = 0> (b)\ny = Mul(x, c)", None),
    "no transpose behind": ("a = Transpose <perm = [0, 2, 1]> (x)\n"
                            "c = ReduceSum <keepdims = 0> (a)\ny = Mul(x, c)", None),
}  # fmt: skip


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, place: Place) -> None:
    body, reason = REFUSED[case]
    refused(placed(place, body, x=X), FUSE, reason, count=2)


def test_what_lies_between_is_a_graph_output() -> None:
    text = (
        HEAD
        + """g (float[2,3] x) => (float[2,3] y, float[3,2] a) {
        a = Transpose(x) b = Transpose(a) y = Neg(b)
    }"""
    )
    refused(parse(text), FUSE, ELSEWHERE)


def test_what_lies_between_is_read_in_a_body() -> None:
    text = (
        HEAD
        + """g (float[2,3] x, bool t) => (float[2,3] y, float[3,2] z) {
        a = Transpose(x)
        b = Transpose(a)
        y = Neg(b)
        z = If(t) <then_branch = p () => (float[3,2] r) { r = Abs(a) },
                   else_branch = q () => (float[3,2] s) { s = Transpose(b) }>
    }"""
    )
    outcome = run(parse(text), FUSE)
    assert outcome.unchanged
    assert outcome.skipped == {ELSEWHERE: 1, NOT_PLAIN: 1}


def test_the_second_stands_in_a_body() -> None:
    text = (
        HEAD
        + """g (float[2,3] x, bool t) => (float[2,3] y) {
        a = Transpose(x)
        y = If(t) <then_branch = p () => (float[2,3] r) { b = Transpose(a) r = Neg(b) },
                   else_branch = q () => (float[2,3] s) { s = Abs(x) }>
    }"""
    )
    refused(parse(text), FUSE, NOT_PLAIN)


def test_other_domains() -> None:
    for body, reason in (
        ("a = com.example.Transpose(x) b = Transpose(a) y = Neg(b)", NOT_PLAIN),
        ("a = Transpose(x) b = com.example.Transpose(a) y = Neg(b)", None),
    ):
        refused(parse(f"{HEAD} g (float[2,3] x) => (float[?,?] y) {{ {body} }}"), FUSE, reason)


def test_attributes_that_refer_to_a_functions_own() -> None:
    text = """<ir_version: 10, opset_import: ["" : 18, "local" : 1]>
        g (float[2,3] x) => (float[2,3] y) { y = local.piece <p = [1, 0]> (x) }
        <domain: "local", opset_import: ["" : 18]> piece <p> (x) => (y) {
            a = Transpose <perm: ints = @p> (x)
            b = Transpose <perm = [1, 0]> (a)
            y = Neg(b)
        }"""
    refused(parse(text), FUSE, NOT_PLAIN)


def test_a_source_from_outside() -> None:
    """The If branch reads x of the main graph: from two Transposes, one, or none."""
    text = (
        HEAD
        + """g (float[2,3,4] x, bool t) => (float[2,3,4] y) {
        y = If(t) <
            then_branch = p () => (float[2,3,4] r) {
                a = Transpose(x) b = Transpose(a) r = Neg(b)
            },
            else_branch = q () => (float[2,3,4] s) {
                d = Transpose <perm = [0, 2, 1]> (x) e = Transpose <perm = [2, 1, 0]> (d)
                f = Neg(e) s = Transpose <perm = [2, 0, 1]> (f)
            }>
    }"""
    )
    outcome = run(parse(text), FUSE)
    assert outcome.lines == [
        "y = If(t)", "  then_branch: r = Neg(x)", "  else_branch: e = Transpose(x)",
        "  else_branch: f = Neg(e)", "  else_branch: s = Transpose(f)",
    ]  # fmt: skip
    agree(outcome.before, outcome.after, exact=True)


def test_a_name_means_another_value_in_a_body() -> None:
    text = (
        HEAD
        + """g (float[2,2] x, bool t) => (float[2,2] y) {
        a = Transpose(x)
        b = Transpose(a)
        y = If(t) <then_branch = p () => (float[2,2] r) <float[1] x = {1.0}> { r = Add(b, x) },
                   else_branch = q () => (float[2,2] s) { s = Neg(b) }>
    }"""
    )
    reason = "the replacement's name means another value in a body that would read it"
    refused(parse(text), FUSE, reason)


@st.composite
def chains(draw: st.DrawFn) -> tuple[int, list[list[int] | None]]:
    """Permutations in a row; None where the attribute is left out."""
    rank = draw(st.integers(1, 4))
    perms = st.one_of(st.permutations(range(rank)).map(list), st.none())
    return rank, draw(st.lists(perms, min_size=2, max_size=6))


@few
@given(chains(), st.sampled_from(GRAPHS))
def test_a_chain_becomes_one_or_none(
    case: tuple[int, list[list[int] | None]], place: Place
) -> None:
    rank, perms = case
    sizes = [2, 3, 4, 5][:rank]
    body, value, shape = "", "x", np.arange(rank)
    for number, perm in enumerate(perms):
        attribute = "" if perm is None else f" <perm = {perm}>"
        body += f"v{number} = Transpose{attribute} ({value})\n"
        value, shape = f"v{number}", shape[list(perm or range(rank)[::-1])]
    x, y = (
        f"float[{','.join(str(sizes[axis]) for axis in axes)}]" for axes in (range(rank), shape)
    )
    outcome = run(placed(place, body + f"y = Neg({value})", x=x, y=y), FUSE)
    left = piece(outcome.after, place)
    # One that does nothing can stay alone: that is another pass's matter.
    assert len(left) <= 2
    if list(shape) == sorted(shape) and len(perms) == 2:
        assert len(left) == 1
    agree(outcome.before, outcome.after, exact=True)

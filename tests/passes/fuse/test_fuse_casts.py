"""fuse_casts: which casts in a row are one, which none, and which have to stay two."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

import graphopt
from graphopt.engine.recipe import parse_recipe
from graphopt.passes.fuse.fuse_casts import FuseCasts
from tests.build import parse
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed
from tests.passes.support import agree, run

PASS = FuseCasts()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
READ = "what lies between is read elsewhere"
LOSES = "the first cast changes values"
ALONE = '[[stage]]\n[[stage.pass]]\nname = "fuse_casts"'
KINDS: dict[str, Any] = {
    **{name: np.dtype(name) for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64",
    )},
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}  # fmt: skip


def elem(name: str) -> int:
    return helper.np_dtype_to_tensor_dtype(KINDS[name])


def text(name: str) -> str:
    return TensorProto.DataType.Name(elem(name)).lower()


def casts(*names: str) -> str:
    """The first name is the type of x; the others are cast to in turn."""
    nodes = ["c0 = Concat <axis = 0> (x, x)"]
    nodes += [f"c{i + 1} = Cast <to = {elem(name)}> (c{i})" for i, name in enumerate(names[1:])]
    nodes.append(f"y = Concat <axis = 0> (c{len(names) - 1}, c0)" if names[0] == names[-1]
                 else f"y = Concat <axis = 0> (c{len(names) - 1}, c{len(names) - 1})")  # fmt: skip
    return "\n".join(nodes)


ONE = [
    ("bool", "int32", "float32"), ("bool", "float32", "int64"), ("bool", "uint8", "int32"),
    ("int8", "int32", "float32"), ("int32", "int64", "float32"), ("int8", "int16", "uint32"),
    ("uint8", "int32", "int64"), ("uint8", "float16", "float32"), ("int64", "int32", "int8"),
    ("int64", "int16", "uint16"), ("float16", "float32", "float64"),
    ("int32", "float64", "float32"), ("float32", "float64", "float16"),
    ("float16", "float32", "bool"), ("int16", "float32", "int32"), ("uint32", "int64", "int32"),
    ("bfloat16", "float32", "float64"), ("int32", "int64", "uint8"),
]  # fmt: skip


@pytest.mark.parametrize("names", ONE)
def test_one_cast_does_it(names: tuple[str, ...]) -> None:
    model = placed("main", casts(*names), x=f"{text(names[0])}[9]", y=f"{text(names[-1])}[36]")
    outcome = run(model, PASS)
    assert outcome.lines[1] == "c2 = Cast(c0)"
    assert outcome.rewrites == 1
    agree(model, outcome.after, [{"x": edges(names[0])}], exact=True, reference="bfloat16" in names)


def edges(name: str) -> Any:
    """Nine numbers that show a wrong cast: ends of the type, ties of roundings, signs."""
    kind = KINDS[name]
    if kind.kind == "b":
        return np.arange(9) % 2 == 0
    if kind.kind in "iu":
        info = np.iinfo(kind)
        listed = [info.min, info.min + 1, 0, 1, 127, info.max, info.max - 1, info.max // 3, 77]
        return np.array(listed, kind)
    return np.array([0.0, -0.0, 1.5, -2.75, 1e-7, 240.0, np.inf, -1e-3, 3.14159], kind)


BACK = [
    ("float16", "float32", "float16"), ("float32", "float64", "float32"),
    ("int32", "int64", "int32"), ("int32", "float64", "int32"), ("bool", "float32", "bool"),
    ("uint8", "float16", "uint8"), ("int8", "uint8", "int8"), ("bfloat16", "float64", "bfloat16"),
    ("int16", "uint32", "int16"),
]  # fmt: skip


@pytest.mark.parametrize("names", BACK)
def test_none_stays_of_a_cast_and_its_way_back(names: tuple[str, ...]) -> None:
    model = placed("main", casts(*names), x=f"{text(names[0])}[9]", y=f"{text(names[0])}[36]")
    outcome = run(model, PASS)
    assert outcome.lines == ["c0 = Concat(x, x)", "y = Concat(c0, c0)"]
    agree(model, outcome.after, [{"x": edges(names[0])}], exact=True, reference="bfloat16" in names)


TWO = [
    ("float32", "float16", "float32"), ("float32", "int32", "float32"), ("int64", "int32", "int64"),
    ("int64", "float32", "int64"), ("int32", "float32", "int32"), ("float32", "bool", "float32"),
    ("float64", "float32", "float16"), ("int32", "int8", "int16"), ("float32", "float64", "int32"),
    ("float16", "float32", "int32"), ("int32", "float64", "uint8"), ("int8", "float16", "uint8"),
    ("int16", "bfloat16", "float32"), ("float16", "bfloat16", "float32"),
    ("int64", "bool", "int32"),
    ("uint64", "float64", "uint64"), ("int8", "uint8", "int16"), ("int64", "int32", "float32"),
]  # fmt: skip


@pytest.mark.parametrize("names", TWO)
def test_both_stay(names: tuple[str, ...]) -> None:
    model = placed("main", casts(*names), x=f"{text(names[0])}[9]", y=f"{text(names[-1])}[36]")
    outcome = run(model, PASS)
    assert outcome.unchanged
    assert outcome.skipped == {LOSES: 1}


@pytest.mark.parametrize("place", GRAPHS)
def test_places(place: Place) -> None:
    body = "a = Cast <to = 11> (x)\nb = Cast <to = 1> (a)\ny = Exp(b)"
    outcome = run(placed(place, body), PASS)
    assert piece(outcome.after, place) == ["y = Exp(x)"]
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("place", PLACES)
def test_types_in_functions_are_not_known(place: Place) -> None:
    body = "a = Cast <to = 7> (x)\nb = Cast <to = 6> (a)\ny = Neg(b)"
    outcome = run(placed(place, body, x="int32[2]"), PASS)
    assert outcome.unchanged == (place == "function")


def test_like_another() -> None:
    t = f"{HEAD} g (float16[2] x, float[2] z, double[2] w) => (double[2] y) {{ NODES }}"
    nodes = "a = CastLike(x, z) b = CastLike(a, w) y = Neg(b)"
    outcome = run(parse(t.replace("NODES", nodes)), PASS)
    assert outcome.lines == ["b = CastLike(x, w)", "y = Neg(b)"]
    agree(outcome.before, outcome.after, exact=True)


def test_a_long_chain() -> None:
    body = "\n".join(
        ["a = Cast <to = 6> (x)", "b = Cast <to = 7> (a)", "c = Cast <to = 11> (b)",
         "d = Cast <to = 6> (a)", "y = Add(d, a)"]
    )  # fmt: skip
    outcome = run(placed("main", body, x="int8[3]", y="int32[3]"), PASS)
    assert outcome.rewrites == 1, "int32 and int64 in a row; the int32 to int32 is a no-op"
    agree(outcome.before, outcome.after, exact=True)


def test_what_lies_between_is_read_elsewhere() -> None:
    body = "a = Cast <to = 1> (x)\nb = Cast <to = 11> (a)\nd = Cast <to = 11> (a)\ny = Add(b, d)"
    outcome = run(placed("main", body, x="float16[2]", y="double[2]"), PASS)
    assert (outcome.unchanged, outcome.skipped) == (True, {READ: 2})


def test_the_way_back_goes_where_others_read_what_lies_between() -> None:
    body = "a = Cast <to = 11> (x)\nb = Cast <to = 1> (a)\nd = Neg(a)\ne = Cast <to = 1> (d)\n"
    outcome = run(placed("main", body + "y = Add(b, e)"), PASS)
    assert outcome.lines == [
        "a = Cast(x)", "d = Neg(a)", "e = Cast(d)", "y = Add(x, e)",
    ]  # fmt: skip
    agree(outcome.before, outcome.after, exact=True)


def test_graph_outputs() -> None:
    t = f"{HEAD} g (float16[2] x) => (float[2] a, double[2] y) {{ NODES }}"
    between = run(parse(t.replace("NODES", "a = Cast <to = 1> (x) y = Cast <to = 11> (a)")), PASS)
    assert (between.unchanged, between.skipped) == (True, {READ: 1})
    last = run(placed("main", "n = Exp(x)\na = Cast <to = 11> (n)\ny = Cast <to = 1> (a)"), PASS)
    assert last.lines == ["y = Exp(x)"]
    agree(last.before, last.after, exact=True)
    whole = run(placed("main", "a = Cast <to = 11> (x)\ny = Cast <to = 1> (a)"), PASS)
    assert whole.unchanged


def test_the_first_stands_outside_of_a_body() -> None:
    t = f"""{HEAD} g (float[2] x, bool t) => (float[2] y) {{
        a = Cast <to = 11> (x)
        y = If(t) <then_branch = p () => (float[2] r) {{ b = Cast <to = 1> (a) r = Exp(b) }},
                   else_branch = q () => (float[2] s) {{ s = Exp(x) }}>
    }}"""
    outcome = run(parse(t), PASS)
    assert (outcome.unchanged, outcome.left_out) == (True, [])


@pytest.mark.parametrize(("names", "exact"), [(ONE[0], True), (ONE[12], False)])
def test_effects(names: tuple[str, ...], exact: bool) -> None:
    """A kernel may round one value in two steps."""
    assert names[1:] == (("int32", "float32") if exact else ("float64", "float16"))
    model = placed("main", casts(*names), x=f"{text(names[0])}[9]", y=f"{text(names[-1])}[36]")
    recipe = parse_recipe(f'admits = "identical"\n{ALONE}', "mine")
    assert graphopt.optimize(model, recipe).report.changed == exact

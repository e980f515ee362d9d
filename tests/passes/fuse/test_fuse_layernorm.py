"""fuse_layernorm: the formula as exporters write it, scales of every shape, and each refusal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper

from graphopt.passes.fuse.fuse_layernorm import FuseLayernorm
from tests.build import few, parse
from tests.passes.fuse.fused import normal, refused
from tests.passes.fuse.spelled import READ, TYPE, WIDENS, fuses, holds_everywhere, model, scalars
from tests.passes.support import Array, agree, run

FUSE = FuseLayernorm()
EPSILON = 1e-5
NUMBERS = scalars(eps=EPSILON, two=2.0, one=1.0, half=0.5, minus=-0.5)
CONSTANTS = {**NUMBERS, "w": normal(8), "b": normal(8, seed=4), "axes": np.array([-1])}
ONE = ["y = LayerNormalization(x, w, b)"]
LARGE = "the scale would be a large new constant"
TOO_OLD = "LayerNormalization comes with opset 17"
NOT_LAST = "the mean is not over the last axes"
NOT_KNOWN = "the normalised dimensions are not known, or too small"

HEAD = "m = ReduceMean <axes = [-1]> (x) d = Sub(x, m)\n"
VARIANCE = "p = Pow(d, two) v = ReduceMean <axes = [-1]> (p) e = Add(v, eps)\n"
TAIL = "q = Mul(n, w) y = Add(q, b)"
SPELLINGS = {
    "torch": f"{HEAD} {VARIANCE} s = Sqrt(e) n = Div(d, s) q = Mul(n, w) y = Add(q, b)",
    "torch dynamo": f"{HEAD} f = Mul(d, d) v = ReduceMean <axes = [2]> (f) e = Add(v, eps) "
    f"s = Sqrt(e) r = Reciprocal(s) n = Mul(d, r) {TAIL}",
    "paddle": f"{HEAD} {VARIANCE} s = Sqrt(e) n = Div(d, s) q = Mul(w, n) y = Add(b, q)",
    "tensorflow": f"{HEAD} {VARIANCE} s = Sqrt(e) r = Reciprocal(s) g = Mul(r, w) q = Mul(d, g) "
    "y = Add(q, b)",
    "keras": f"{HEAD} {VARIANCE} r = Pow(e, minus) g = Mul(w, r) q = Mul(g, d) y = Add(q, b)",
    "difference twice": f"{HEAD} d2 = Sub(x, m) p = Pow(d2, two) v = ReduceMean <axes = [-1]> (p) "
    f"e = Add(eps, v) s = Sqrt(e) n = Div(d, s) {TAIL}",
    "both twice": f"{HEAD} m2 = ReduceMean <axes = [2], keepdims = 1> (x) d2 = Sub(x, m2) "
    f"p = Mul(d2, d2) v = ReduceMean <axes = [-1]> (p) e = Add(eps, v) s = Sqrt(e) n = Div(d, s) "
    f"{TAIL}",
    "root as a power": f"{HEAD} {VARIANCE} s = Pow(e, half) n = Div(d, s) {TAIL}",
    "inverse as a quotient": f"{HEAD} {VARIANCE} s = Sqrt(e) r = Div(one, s) n = Mul(r, d) {TAIL}",
    "root of the inverse": f"{HEAD} {VARIANCE} i = Reciprocal(e) r = Sqrt(i) n = Mul(d, r) {TAIL}",
}


def by_input(body: str) -> str:
    """The same with axes as opset 18 wants them."""
    for axes in ("<axes = [-1]> (", "<axes = [2]> (", "<axes = [2], keepdims = 1> ("):
        body = body.replace(f"ReduceMean {axes}", "ReduceMean (").replace("(x)", "(x, axes)")
    return body.replace("(p)", "(p, axes)").replace("(f)", "(f, axes)")


def attributes(after: ModelProto) -> dict[str, Any]:
    (node,) = (node for node in after.graph.node if node.op_type == "LayerNormalization")
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


@pytest.mark.parametrize("case", SPELLINGS)
@pytest.mark.parametrize("opset", [17, 18, 22])
def test_spellings(opset: int, case: str) -> None:
    body = SPELLINGS[case] if opset == 17 else by_input(SPELLINGS[case])
    outcome = fuses(FUSE, model(body, CONSTANTS, opset), ONE)
    assert attributes(outcome.after) == {"axis": -1, "epsilon": np.float32(EPSILON)}
    agree(outcome.before, outcome.after, [{"x": np.full((2, 3, 8), 3.0, np.float32)}])


def test_everywhere() -> None:
    read = {name: CONSTANTS[name] for name in ("eps", "two", "w", "b")}
    holds_everywhere(FUSE, SPELLINGS["torch"], read, 17, "e", ONE[0], in_functions=False)


def test_the_reference_agrees() -> None:
    for body in SPELLINGS.values():
        fuses(FUSE, model(body, CONSTANTS, 17), ONE, reference=True)


@pytest.mark.parametrize("case", SPELLINGS)
def test_float16(case: str) -> None:
    constants: dict[str, Array] = {
        name: array if name == "axes" else array.astype(np.float16)
        for name, array in CONSTANTS.items()
    }
    constants["eps"] = np.array(1e-3, np.float16)
    fuses(FUSE, model(SPELLINGS[case], constants, 17, x="float16[2,3,8]"), ONE)


@pytest.mark.parametrize(
    ("x", "axes", "axis"),
    [("float[2,3,8]", "[1, 2]", -2), ("float[2,3,8]", "[-1, -2]", -2), ("float[4,8]", "[0, 1]", -2),
     ("float[5,2,3,8]", "[3, 2, -3]", -3), ("float[8]", "[0]", -1)],
)  # fmt: skip
def test_axes(x: str, axes: str, axis: int) -> None:
    shape = tuple(int(part) for part in x[6:-1].split(","))[axis:]
    constants = {**CONSTANTS, "w": normal(*shape), "b": normal(*shape, seed=4)}
    body = SPELLINGS["torch"].replace("[-1]", axes)
    outcome = fuses(FUSE, model(body, constants, 17, x=x), ONE)
    assert attributes(outcome.after)["axis"] == axis


SHAPES: list[tuple[int, ...]] = [(), (1,), (8,), (1, 8), (1, 1, 8), (1, 1, 1)]


@pytest.mark.parametrize("bias", SHAPES)
@pytest.mark.parametrize("scale", SHAPES)
def test_shapes_of_scale_and_bias(scale: tuple[int, ...], bias: tuple[int, ...]) -> None:
    constants = {**CONSTANTS, "w": normal(*scale), "b": normal(*bias, seed=4)}
    outcome = run(model(SPELLINGS["torch"], constants, 17), FUSE)
    (line,) = outcome.lines
    used = line[line.index("(") + 1 : -1].split(", ")[1:]
    assert [outcome.weights[name].shape for name in used] == [(8,), (8,)]
    assert [name in ("w", "b") for name in used] == [scale == (8,), bias == (8,)]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize(("tail", "inputs"), [
    ("y = Mul(n, w)", "(x, w)"), ("y = Add(n, b)", "(x, y_scale, b)"),
    ("y = Relu(n)", "(x, n_scale)"), ("y = Sub(n, b)", "(x, n_scale)"),
    ("y = Add(n, n)", "(x, n_scale)"), ("q = Add(n, b) y = Mul(q, w)", "(x, q_scale, b)"),
    ("q = Mul(n, u) y = Add(q, b)", "(x, n_scale)"),
    ("q = Mul(n, z) y = Add(q, b)", "(x, n_scale)"),
])  # fmt: skip
def test_without_scale_or_bias(tail: str, inputs: str) -> None:
    """What varies along other axes, or is no constant, stays outside."""
    body = f"z = Abs(x) {SPELLINGS['torch']}".replace(TAIL, tail)
    constants = {**CONSTANTS, "u": normal(3, 1)}
    outcome = run(model(body, constants, 17), FUSE)
    assert inputs in "".join(line for line in outcome.lines if "LayerNormalization" in line)
    for name in ("y_scale", "n_scale", "q_scale"):
        assert name not in inputs or (outcome.weights[name] == np.ones(8)).all()
    agree(outcome.before, outcome.after)


def test_the_scaled_value_is_read_elsewhere() -> None:
    body = SPELLINGS["torch"].replace("y = Add(q, b)", "a = Add(q, b) c = Neg(q) y = Add(a, c)")
    outcome = run(model(body, CONSTANTS, 17), FUSE)
    assert outcome.lines[0] == "q = LayerNormalization(x, w)"
    agree(outcome.before, outcome.after)


def test_a_scale_that_widens() -> None:
    body = SPELLINGS["torch"].replace("y = Add(q, b)", "y = Relu(q)")
    constants = {**CONSTANTS, "w": normal(1, 1, 1, 8)}
    outcome = run(model(body, constants, 17, y="float[1,2,3,8]"), FUSE)
    assert outcome.lines[0] == "n = LayerNormalization(x, n_scale)"
    agree(outcome.before, outcome.after)


def test_a_scale_and_bias_that_others_read() -> None:
    body = SPELLINGS["torch"].replace("y = Add(q, b)", "a = Add(q, b) c = Mul(w, b) y = Add(a, c)")
    outcome = run(model(body, CONSTANTS, 17), FUSE)
    assert outcome.lines[0] == "a = LayerNormalization(x, w, b)"
    agree(outcome.before, outcome.after)


def test_a_scale_and_bias_that_are_computed() -> None:
    """Of just the normalised shape; other ones stay outside."""
    head = "u = Neg(w) c = Abs(b)"
    body = f"{head} {SPELLINGS['torch']}".replace("(n, w)", "(n, u)").replace("(q, b)", "(c, q)")
    outcome = run(model(body, CONSTANTS, 17), FUSE)
    assert outcome.lines == ["u = Neg(w)", "c = Abs(b)", "y = LayerNormalization(x, u, c)"]
    agree(outcome.before, outcome.after)
    short = run(model(body, {**CONSTANTS, "w": normal(1), "b": normal(1, 8)}, 17), FUSE)
    assert short.lines[2] == "n = LayerNormalization(x, n_scale)"
    agree(short.before, short.after)


def test_a_scale_that_callers_may_override() -> None:
    text = f"""<ir_version: 8, opset_import: ["": 17]>
        g (float[2,8] x, float[8] w) => (float[2,8] y) {{ {SPELLINGS["torch"]} }}"""
    outcome = run(parse(text, **CONSTANTS), FUSE)
    assert outcome.lines == ONE
    agree(outcome.before, outcome.after, [{"x": normal(2, 8), "w": normal(8, seed=9)}])


@pytest.mark.parametrize("inner", ["d", "m", "x"])
def test_the_result_beside_a_value_of_its_own(inner: str) -> None:
    """With one axis, source and difference have just the normalised shape."""
    body = SPELLINGS["torch"].replace("q = Mul(n, w)", f"q = Mul(n, {inner})")
    before = model(body, CONSTANTS, 17, x="float[8]")
    if inner == "x":
        fuses(FUSE, before, ["y = LayerNormalization(x, x, b)"])
    else:
        refused(before, FUSE, READ)


def test_open_sizes() -> None:
    text = f"""<ir_version: 8, opset_import: ["": 17]>
        g (float["N",S,8] x) => (float["N",S,8] y) {{ {SPELLINGS["torch"]} }}"""
    outcome = run(parse(text, **CONSTANTS), FUSE)
    assert outcome.lines == ONE
    agree(outcome.before, outcome.after, [{"x": normal(n, s, 8)} for n, s in ((1, 1), (3, 5))])


def test_double() -> None:
    constants = {name: array.astype(np.float64) for name, array in CONSTANTS.items()}
    body = SPELLINGS["torch"]
    refused(model(body, {**constants}, 17, x="double[2,3,8]"), FUSE, TYPE)


def test_large_constants_are_not_made() -> None:
    body = SPELLINGS["torch"].replace(TAIL, "y = Relu(n)")
    refused(model(body, CONSTANTS, 17, x="float[2,20000]"), FUSE, LARGE)


@pytest.mark.parametrize("opset", [7, 12, 16])
def test_before_opset_17(opset: int) -> None:
    refused(model(SPELLINGS["torch"], CONSTANTS, opset), FUSE, TOO_OLD)


TORCH = SPELLINGS["torch"]
BODIES: dict[str, tuple[str, str | None]] = {
    "no mean taken off": (TORCH.replace("Sub(x, m)", "Neg(x)"), None),
    "another value's mean": (TORCH.replace("> (x)", "> (z)", 1), None),
    "the difference turned": (TORCH.replace("Sub(x, m)", "Sub(m, x)"), None),
    "another exponent": (TORCH.replace("Pow(d, two)", "Pow(d, one)"), None),
    "another root": (TORCH.replace("Sqrt(e)", "Pow(e, two)"), None),
    "epsilon behind the root": (
        TORCH.replace("e = Add(v, eps) ", "").replace("s = Sqrt(e)", "u = Sqrt(v) s = Add(u, eps)"),
        None,
    ),
    "no epsilon": (TORCH.replace("Add(v, eps)", "Abs(v)"), None),
    "a sum for the mean": (TORCH.replace("v = ReduceMean", "v = ReduceMax"), None),
    "the variance of z": (TORCH.replace("Pow(d, two)", "Pow(z, two)"), None),
    "a product with the root": (TORCH.replace("Div(d, s)", "Mul(d, s)"), None),
    "divided by the difference": (TORCH.replace("Div(d, s)", "Div(s, d)"), None),
    "mean read elsewhere": (TORCH.replace("q = Mul(n, w)", "c = Add(n, m) q = Mul(c, w)"), READ),
    "root read elsewhere": (TORCH.replace("q = Mul(n, w)", "c = Add(n, s) q = Mul(c, w)"), READ),
    "other axes": (TORCH.replace("v = ReduceMean <axes = [-1]>", "v = ReduceMean <axes = [1, 2]>"),
                   "the two means are over different axes"),
    "not the last axes": (TORCH.replace("[-1]", "[1]").replace("q = Mul(n, w)", "q = Abs(n)"),
                          NOT_LAST),
    "first and last axis": (TORCH.replace("[-1]", "[0, 2]"), NOT_LAST),
}  # fmt: skip


@pytest.mark.parametrize("case", BODIES)
def test_refused(case: str) -> None:
    body, reason = BODIES[case]
    refused(model(f"z = Abs(x) {body}", CONSTANTS, 17), FUSE, reason)


@pytest.mark.parametrize("epsilon", [0.0, -1e-5])
def test_an_epsilon_that_is_not_positive(epsilon: float) -> None:
    constants = {**CONSTANTS, **scalars(eps=epsilon)}
    refused(model(TORCH, constants, 17), FUSE, "epsilon is not positive")


def test_an_epsilon_that_varies_or_widens() -> None:
    refused(model(TORCH, {**CONSTANTS, "eps": np.full(8, 1e-5, np.float32)}, 17), FUSE, None)
    wide = {**CONSTANTS, "eps": np.full((1, 1, 1, 1), 1e-5, np.float32)}
    refused(model(TORCH, wide, 17, y="float[1,2,3,8]"), FUSE, WIDENS)


def test_dimensions_that_are_not_kept() -> None:
    body = TORCH.replace("<axes = [-1]>", "<axes = [-1], keepdims = 0>")
    refused(model(body, CONSTANTS, 17, x="float[8,8]"), FUSE, None)


@pytest.mark.parametrize("size", ["1", "K"])
def test_normalised_sizes(size: str) -> None:
    text = f"""<ir_version: 8, opset_import: ["": 17]>
        g (float[2,{size}] x) => (float[?,?] y) {{ {TORCH} }}"""
    refused(parse(text, **CONSTANTS), FUSE, NOT_KNOWN)


def test_the_divisor_times_what_is_no_scale() -> None:
    constants = {**CONSTANTS, "w": normal(3, 1)}
    reason = "the divisor is multiplied by what is no scale of the normalised axes"
    refused(model(SPELLINGS["tensorflow"], constants, 17), FUSE, reason)


@few
@given(st.integers(1, 4), st.integers(1, 4), st.integers(2, 9), st.sampled_from(list(SPELLINGS)))
def test_any_sizes(batch: int, rows: int, columns: int, case: str) -> None:
    constants = {**CONSTANTS, "w": normal(columns), "b": normal(columns, seed=4)}
    before = model(SPELLINGS[case], constants, 17, x=f"float[{batch},{rows},{columns}]")
    fuses(FUSE, before, ONE)

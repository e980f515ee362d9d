"""fuse_gemm_batchnorm: text in, text out; parameters against float64; any product."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.printer
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper, numpy_helper

from graphopt.passes.fuse.fuse_gemm_batchnorm import FuseGemmBatchnorm
from tests.build import few
from tests.passes.fuse.fused import dims, kind, normal, rounded_once
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed, scope_of, stored
from tests.passes.support import Array, agree, run

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

FUSE = FuseGemmBatchnorm()
X = "float[2,3]"
Y = "float[2,4]"
GEMM = "h = Gemm(x, w, b)\n"
NORM = "n = BatchNormalization(h, scale, shift, mean, var)\n"
BODY = GEMM + NORM + "y = Relu(n)"
EPSILON = 0.003


def values(dtype: Any = np.float32, **changed: Array) -> dict[str, Array]:
    made = {
        "w": normal(3, 4),
        **{name: normal(4, seed=i) for i, name in enumerate(("b", "scale", "shift", "mean"))},
        "var": np.abs(normal(4, seed=9)) + 0.1,
    }
    return {**{name: array.astype(dtype) for name, array in made.items()}, **changed}


def main(body: str = BODY, x: str = X, y: str = Y, opset: int = 18, **changed: Array) -> ModelProto:
    return placed("main", body, values(**changed), x=x, y=y, opset=opset)


def expected(given_values: dict[str, Array], *, trans: bool, beta: float) -> tuple[Array, Array]:
    """W' and C' by the formula, in float64, with EPSILON."""
    wide = {name: array.astype(np.float64) for name, array in given_values.items()}
    factor = wide["scale"] / np.sqrt(wide["var"] + np.float64(np.float32(EPSILON)))
    addend = beta * wide["b"].ravel() if "b" in wide else 0.0
    weight = wide["w"] * (factor[:, None] if trans else factor)
    return weight, (addend - wide["mean"]) * factor + wide["shift"]


@pytest.mark.parametrize("place", PLACES)
def test_fuses(place: Place) -> None:
    outcome = run(placed(place, BODY, values(), x=X, y=Y), FUSE)
    assert piece(outcome.after, place) == ["n = Gemm(x, w_fused, w_bias)", "y = Relu(n)"]
    assert (outcome.rewrites, outcome.skipped, outcome.left_out) == (1, {}, [])
    assert {"w_fused", "w_bias"} <= stored(outcome.after, place)
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", PLACES)
def test_the_result_of_the_norm_is_a_graph_output(place: Place) -> None:
    body = GEMM + "y = BatchNormalization(h, scale, shift, mean, var)"
    outcome = run(placed(place, body, values(), x=X, y=Y), FUSE)
    assert piece(outcome.after, place) == ["y = Gemm(x, w_fused, w_bias)"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", ["if", "loop"])
def test_constants_captured_from_the_main_graph(place: Place) -> None:
    outcome = run(placed(place, BODY, values(), x=X, y=Y, captured=True), FUSE)
    assert piece(outcome.after, place) == ["n = Gemm(x, w_fused, w_bias)", "y = Relu(n)"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("opset", [7, 8, 9, 11, 13, 14, 15, 21])
def test_every_opset_with_an_inference_form(opset: int) -> None:
    outcome = run(main(opset=opset), FUSE)
    assert outcome.lines == ["n = Gemm(x, w_fused, w_bias)", "y = Relu(n)"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (1, 1), (1, 4)])
@pytest.mark.parametrize("attributes", ["", "<beta = 0.3>", "<alpha = 0.5, beta = -2.0>"])
def test_addends_that_are_rows(attributes: str, shape: tuple[int, ...]) -> None:
    body = f"h = Gemm {attributes} (x, w, b)\n" + NORM + "y = Relu(n)"
    outcome = run(main(body, b=normal(*shape, seed=6)), FUSE)
    assert outcome.rewrites == 1
    assert not any(item.name == "beta" for item in outcome.after.graph.node[0].attribute)
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("inputs", ["x, w", 'x, w, ""'])
@pytest.mark.parametrize("attributes", ["", "<beta = 7.0>", "<beta = 0.0>"])
def test_no_addend(attributes: str, inputs: str) -> None:
    constants = values()
    del constants["b"]
    body = f"h = Gemm {attributes} ({inputs})\n" + NORM + "y = Relu(n)"
    outcome = run(placed("main", body, constants, x=X, y=Y), FUSE)
    assert outcome.lines == ["n = Gemm(x, w_fused, w_bias)", "y = Relu(n)"]
    agree(outcome.before, outcome.after)


def test_no_columns_and_no_rows() -> None:
    empty = {name: array[..., :0] for name, array in values().items()}
    outcome = run(placed("main", BODY, empty, x=X, y="float[2,0]"), FUSE)
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after, reference=True)
    outcome = run(main(x="float[2,0]", w=normal(0, 4)), FUSE)
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after, [{"x": normal(2, 0)}])


def test_a_variance_of_0_in_float64() -> None:
    """The default epsilon is a float32: ONNX has no other attribute."""
    constants = values(np.float64, var=np.zeros(4), mean=np.zeros(4), shift=np.zeros(4))
    x, y = X.replace("float", "double"), Y.replace("float", "double")
    outcome = run(placed("main", BODY, constants, x=x, y=y), FUSE)
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("ir", [3, 10])
def test_constant_nodes(place: Place, ir: int) -> None:
    model = placed(place, BODY, {}, x=X, y=Y, ir=ir, opset=9)
    for name, array in values().items():
        node = helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
        scope_of(model, place).node.insert(0, node)
    outcome = run(model, FUSE)
    assert piece(outcome.after, place) == ["n = Gemm(x, w_fused, w_bias)", "y = Relu(n)"]
    agree(outcome.before, outcome.after)


def test_fresh_names() -> None:
    head = "w_fused = Neg(x)\nu = ReduceSum <keepdims = 0> (w_fused)\n"
    body = head + GEMM + NORM + "w_bias = Add(n, u)\ny = Mul(w_bias, w_fused_1)"
    outcome = run(main(body, w_fused_1=np.array(3, np.float32)), FUSE)
    assert "n = Gemm(x, w_fused_2, w_bias_1)" in outcome.lines
    agree(outcome.before, outcome.after)


def test_a_shared_addend_stays_for_its_other_reader() -> None:
    body = GEMM + NORM + "k = Gemm(x, v, b)\ny = Sub(n, k)"
    outcome = run(main(body, v=normal(3, 4, seed=8)), FUSE)
    assert outcome.lines == [
        "n = Gemm(x, w_fused, w_bias)", "k = Gemm(x, v, b)", "y = Sub(n, k)",
    ]  # fmt: skip
    agree(outcome.before, outcome.after)


def test_one_constant_used_for_everything() -> None:
    body = "h = Gemm(x, w, var)\nn = BatchNormalization(h, var, var, var, var)\ny = Relu(n)"
    outcome = run(main(body), FUSE)
    assert outcome.lines[0] == "n = Gemm(x, w_fused, w_bias)"
    agree(outcome.before, outcome.after)


def test_a_chain_of_two_norms_goes_in_whole() -> None:
    body = GEMM + NORM + "y = BatchNormalization(n, shift, scale, mean, var)"
    outcome = run(main(body), FUSE)
    assert (outcome.rewrites, len(outcome.lines)) == (2, 1)
    agree(outcome.before, outcome.after)


def test_one_row_alone() -> None:
    """[1, 4] is a row where the product has one, too."""
    outcome = run(main(x="float[1,3]", y="float[1,4]", b=normal(1, 4)), FUSE)
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after)


@st.composite
def products(draw: st.DrawFn) -> tuple[ModelProto, dict[str, Array], bool, float]:
    """A Gemm of any attributes, addend and type, with a BatchNormalization behind it."""
    rows, inner, columns = (draw(st.integers(1, 4)) for _ in range(3))
    turned, trans = draw(st.booleans()), draw(st.booleans())
    alpha, beta = (draw(st.sampled_from([1.0, 0.5, -2.0, 0.0])) for _ in range(2))
    dtype = np.dtype(draw(st.sampled_from([np.float16, np.float32, np.float64])))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    constants = {
        "w": rng.standard_normal((columns, inner) if trans else (inner, columns)),
        **{name: rng.standard_normal(columns) for name in ("scale", "shift", "mean")},
        "var": rng.random(columns) + 0.05,
    }
    shape = draw(st.sampled_from([None, (), (1,), (1, 1), (columns,), (1, columns)]))
    if shape is not None:
        constants["b"] = np.asarray(rng.standard_normal(shape))
    constants = {name: array.astype(dtype) for name, array in constants.items()}
    x = kind(dtype) + dims(np.empty((inner, rows) if turned else (rows, inner)))
    attributes = f"alpha = {alpha}, beta = {beta}, transA = {turned:d}, transB = {trans:d}"
    body = f"h = Gemm <{attributes}> (x, w{'' if shape is None else ', b'})\n"
    body += f"y = BatchNormalization <epsilon = {EPSILON}> (h, scale, shift, mean, var)"
    y = kind(dtype) + dims(np.empty((rows, columns)))
    return placed("main", body, constants, x=x, y=y), constants, trans, beta


@few
@given(products())
def test_any_product(case: tuple[ModelProto, dict[str, Array], bool, float]) -> None:
    model, constants, trans, beta = case
    outcome = run(model, FUSE)
    assert outcome.lines == ["y = Gemm(x, w_fused, w_bias)"]
    weight, bias = expected(constants, trans=trans, beta=beta)
    rounded_once(outcome.weights["w_fused"], weight)
    rounded_once(outcome.weights["w_bias"], np.broadcast_to(bias, constants["scale"].shape))
    agree(model, outcome.after, reference="double" in onnx.printer.to_text(model))

"""fuse_conv_batchnorm: text in, text out; each refusal; parameters against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper

from graphopt.passes.fuse.fuse_conv_batchnorm import FuseConvBatchnorm
from tests.build import parse
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed, scope_of, stored
from tests.passes.support import Array, agree, constants, run, weights

FUSE = FuseConvBatchnorm()
X = "float[2,3,5,5]"
Y = "float[2,4,3,3]"
CONV = "h = Conv(x, w, b)\n"
NORM = "n = BatchNormalization(h, scale, shift, mean, var)\n"
BODY = CONV + NORM + "y = Relu(n)"


def parameters(dtype: Any = np.float32, channels: int = 4) -> dict[str, Array]:
    rng = np.random.default_rng(3)
    made = {
        "w": rng.standard_normal((channels, 3, 3, 3)),
        "b": rng.standard_normal(channels),
        "scale": rng.standard_normal(channels),
        "shift": rng.standard_normal(channels),
        "mean": rng.standard_normal(channels),
        "var": rng.random(channels) + 0.1,
    }
    return {name: array.astype(dtype) for name, array in made.items()}


def expected(values: dict[str, Array], epsilon: float = 1e-5) -> tuple[Array, Array]:
    """W' and B' by the formula, in float64."""
    wide = {name: array.astype(np.float64) for name, array in values.items()}
    factor = wide["scale"] / np.sqrt(wide["var"] + np.float64(np.float32(epsilon)))
    bias = wide.get("b", np.zeros_like(factor))
    weight = wide["w"] * factor.reshape(-1, *[1] * (wide["w"].ndim - 1))
    return weight, (bias - wide["mean"]) * factor + wide["shift"]


def rounded_once(found: Array, exact: Array) -> None:
    """Assert that `found` is `exact`, rounded to its own type (half a unit, and a hair)."""
    info = np.finfo(found.dtype)
    unit = np.maximum(np.abs(exact) * float(info.eps), float(info.smallest_subnormal))
    assert (np.abs(found.astype(np.float64) - exact) <= 0.501 * unit).all()


@pytest.mark.parametrize("place", PLACES)
def test_fuses(place: Place) -> None:
    outcome = run(placed(place, BODY, parameters(), x=X, y=Y), FUSE)
    assert piece(outcome.after, place) == ["n = Conv(x, w_fused, w_bias)", "y = Relu(n)"]
    assert (outcome.rewrites, outcome.skipped, outcome.left_out) == (1, {}, [])
    assert {"w_fused", "w_bias"} <= stored(outcome.after, place)
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", PLACES)
def test_the_result_of_the_norm_is_a_graph_output(place: Place) -> None:
    body = CONV + "y = BatchNormalization(h, scale, shift, mean, var)"
    outcome = run(placed(place, body, parameters(), x=X, y=Y), FUSE)
    assert piece(outcome.after, place) == ["y = Conv(x, w_fused, w_bias)"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", ["if", "loop"])
def test_parameters_captured_from_the_main_graph(place: Place) -> None:
    outcome = run(placed(place, BODY, parameters(), x=X, y=Y, captured=True), FUSE)
    assert piece(outcome.after, place) == ["n = Conv(x, w_fused, w_bias)", "y = Relu(n)"]
    assert set(outcome.weights) == set(parameters())
    agree(outcome.before, outcome.after)


def test_parameters_match_float64() -> None:
    values = parameters()
    outcome = run(placed("main", BODY, values, x=X, y=Y), FUSE)
    weight, bias = expected(values)
    rounded_once(outcome.weights["w_fused"], weight)
    rounded_once(outcome.weights["w_bias"], bias)


def test_epsilon_is_the_nodes_own() -> None:
    values = parameters()
    norm = "n = BatchNormalization <epsilon = 0.25> (h, scale, shift, mean, var)\n"
    outcome = run(placed("main", CONV + norm + "y = Relu(n)", values, x=X, y=Y), FUSE)
    rounded_once(outcome.weights["w_fused"], expected(values, 0.25)[0])
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("inputs", ["x, w", 'x, w, ""'])
def test_a_conv_without_bias_gets_one(inputs: str) -> None:
    values = parameters()
    del values["b"]
    outcome = run(placed("main", f"h = Conv({inputs})\n{NORM}y = Relu(n)", values, x=X, y=Y), FUSE)
    assert outcome.lines == ["n = Conv(x, w_fused, w_bias)", "y = Relu(n)"]
    rounded_once(outcome.weights["w_bias"], expected(values)[1])
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("padding", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_auto_pad_stays(padding: str) -> None:
    conv = f'h = Conv <auto_pad = "{padding}", strides = [2, 1]> (x, w, b)\n'
    outcome = run(
        placed("main", conv + NORM + "y = Relu(n)", parameters(), x=X, y="float[?,?,?,?]"), FUSE
    )
    assert outcome.rewrites == 1
    assert list(outcome.after.graph.node[0].attribute) == list(
        outcome.before.graph.node[0].attribute
    )
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("opset", [7, 8, 9, 13, 14, 15, 21])
def test_every_opset_with_an_inference_form(opset: int) -> None:
    model = placed("main", BODY, parameters(), x=X, y=Y, opset=opset)
    outcome = run(model, FUSE)
    assert outcome.lines == ["n = Conv(x, w_fused, w_bias)", "y = Relu(n)"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("opset", [1, 6])
def test_opset_below_7_in_test_form(opset: int) -> None:
    consumed = ", consumed_inputs = [0, 0, 0, 1, 1]" if opset == 1 else ""
    norm = f"n = BatchNormalization <is_test = 1{consumed}> (h, scale, shift, mean, var)\n"
    model = placed("main", CONV + norm + "y = Abs(n)", parameters(), x=X, y=Y, opset=opset)
    assert run(model, FUSE).lines[0] == "n = Conv(x, w_fused, w_bias)"


@pytest.mark.parametrize("place", PLACES)
def test_weights_in_constant_nodes(place: Place) -> None:
    values = parameters()
    model = placed(place, BODY, {}, x=X, y=Y)
    for name, array in values.items():
        tensor = helper.make_tensor(name, TensorProto.FLOAT, array.shape, array.tobytes(), raw=True)
        scope_of(model, place).node.insert(
            0, helper.make_node("Constant", [], [name], value=tensor)
        )
    outcome = run(model, FUSE)
    assert piece(outcome.after, place) == ["n = Conv(x, w_fused, w_bias)", "y = Relu(n)"]
    agree(outcome.before, outcome.after)


def test_a_function_gets_constant_nodes() -> None:
    values = parameters()
    outcome = run(placed("function", BODY, values, x=X, y=Y), FUSE)
    held = constants(outcome.after.functions[0])
    rounded_once(held["w_fused"], expected(values)[0])
    rounded_once(held["w_bias"], expected(values)[1])


def test_ir_version_3_gets_constant_nodes() -> None:
    text = '<ir_version: 3, opset_import: ["" : 9]> g (float[2,3,5,5] x) => (float[2,4,3,3] y) {\n'
    model = parse(text + BODY + "}")
    for name, array in parameters().items():
        tensor = helper.make_tensor(name, TensorProto.FLOAT, array.shape, array.tobytes(), raw=True)
        model.graph.node.insert(0, helper.make_node("Constant", [], [name], value=tensor))
    outcome = run(model, FUSE)
    assert not outcome.after.graph.initializer
    assert piece(outcome.after, "main") == ["n = Conv(x, w_fused, w_bias)", "y = Relu(n)"]
    agree(outcome.before, outcome.after)


def test_a_chain_of_two_norms_goes_in_whole() -> None:
    body = CONV + NORM + "y = BatchNormalization(n, scale, shift, mean, var)"
    outcome = run(placed("main", body, parameters(), x=X, y=Y), FUSE)
    assert (outcome.rewrites, len(outcome.lines)) == (2, 1)
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", GRAPHS)
def test_fresh_names(place: Place) -> None:
    head = "w_fused = Neg(x)\nu = ReduceSum <keepdims = 0> (w_fused)\n"
    body = head + BODY.replace("y = Relu(n)", "w_bias = Add(n, u)\ny = Mul(w_bias, w_fused_1)")
    values = {**parameters(), "w_fused_1": np.array(3, np.float32)}
    outcome = run(placed(place, body, values, x=X, y=Y), FUSE)
    assert "n = Conv(x, w_fused_2, w_bias_1)" in piece(outcome.after, place)
    agree(outcome.before, outcome.after)


def test_a_shared_weight_stays_for_its_other_reader() -> None:
    body = CONV + NORM + "k = Conv(x, w)\ny = Sub(n, k)"
    values = parameters()
    outcome = run(placed("main", body, values, x=X, y=Y), FUSE)
    assert outcome.lines == [
        "n = Conv(x, w_fused, w_bias)", "k = Conv(x, w)", "y = Sub(n, k)",
    ]  # fmt: skip
    assert outcome.weights["w"].tobytes() == values["w"].tobytes()
    agree(outcome.before, outcome.after)


def test_two_convs_of_one_weight_are_both_fused() -> None:
    body = CONV + NORM + "k = Conv(x, w)\nm = BatchNormalization(k, shift, mean, scale, var)\n"
    outcome = run(placed("main", body + "y = Sub(n, m)", parameters(), x=X, y=Y), FUSE)
    assert outcome.lines == [
        "n = Conv(x, w_fused, w_bias)", "m = Conv(x, w_fused_1, w_bias_1)", "y = Sub(n, m)",
    ]  # fmt: skip
    agree(outcome.before, outcome.after)


def test_one_tensor_used_twice() -> None:
    body = CONV + "n = BatchNormalization(h, var, shift, shift, var)\ny = Add(n, n)"
    outcome = run(placed("main", body, parameters(), x=X, y=Y), FUSE)
    assert outcome.lines == ["n = Conv(x, w_fused, w_bias)", "y = Add(n, n)"]
    agree(outcome.before, outcome.after)


def test_a_reader_in_a_body_follows() -> None:
    model = parse(
        f"""<ir_version: 10, opset_import: ["" : 18]>
        g ({X} x, bool c) => ({Y} y) {{
            {CONV} {NORM}
            y = If(c) <then_branch = t () => ({Y} p) {{ p = Relu(n) }},
                       else_branch = e () => ({Y} q) {{ q = Neg(n) }}>
        }}""",
        **parameters(),
    )
    outcome = run(model, FUSE)
    assert outcome.lines == [
        "n = Conv(x, w_fused, w_bias)",
        "y = If(c)", "  then_branch: p = Relu(n)", "  else_branch: q = Neg(n)",
    ]  # fmt: skip
    agree(outcome.before, outcome.after)


def test_external_names_do_not_matter() -> None:
    """The Conv's own attributes, name and metadata stay."""
    model = placed("main", BODY, parameters(), x=X, y=Y)
    model.graph.node[0].name = "stem"
    model.graph.node[0].doc_string = "the first"
    fused = run(model, FUSE).after.graph.node[0]
    assert (fused.name, fused.doc_string) == ("stem", "the first")


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[ModelProto, dict[str, Array], float]:
    """A Conv and a BatchNormalization of any rank, groups, strides, pads and dtype."""
    rank = draw(st.integers(1, 3))
    group = draw(st.sampled_from([1, 1, 2, 3]))
    depth, outputs = group * draw(st.integers(1, 2)), group * draw(st.integers(1, 3))
    kernel = draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    attributes: dict[str, Any] = {
        "group": group,
        "strides": draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank)),
        "pads": draw(st.lists(st.integers(0, 1), min_size=rank, max_size=rank)) * 2,
        "dilations": draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank)),
    }
    dtype = np.dtype(draw(st.sampled_from([np.float16, np.float32, np.float64])))
    epsilon = draw(st.sampled_from([1e-5, 1e-3, 0.5]))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    values = {
        "w": rng.standard_normal((outputs, depth // group, *kernel)),
        **{name: rng.standard_normal(outputs) for name in ("scale", "shift", "mean")},
        "var": rng.random(outputs) + 0.05,
    }
    if draw(st.booleans()):
        values["b"] = rng.standard_normal(outputs)
    values = {name: array.astype(dtype) for name, array in values.items()}
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    nodes = [
        helper.make_node(
            "Conv", ["x", "w", *(["b"] if "b" in values else [])], ["h"], **attributes
        ),
        helper.make_node(
            "BatchNormalization", ["h", "scale", "shift", "mean", "var"], ["y"], epsilon=epsilon
        ),
    ]
    x = helper.make_tensor_value_info("x", kind, [2, depth, *[6] * rank])
    y = helper.make_tensor_value_info("y", kind, [None] * (rank + 2))
    stored_values = [
        helper.make_tensor(n, kind, a.shape, a.tobytes(), raw=True) for n, a in values.items()
    ]
    graph = helper.make_graph(nodes, "g", [x], [y], stored_values)
    imports = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10), values, epsilon


@settings(max_examples=60, deadline=None, derandomize=True)
@given(convolutions())
def test_any_convolution(case: tuple[ModelProto, dict[str, Array], float]) -> None:
    model, values, epsilon = case
    outcome = run(model, FUSE)
    assert outcome.lines == ["y = Conv(x, w_fused, w_bias)"]
    assert outcome.after.graph.node[0].attribute == model.graph.node[0].attribute
    weight, bias = expected(values, epsilon)
    fused = weights(outcome.after.graph)
    assert fused["w_fused"].dtype == fused["w_bias"].dtype == values["w"].dtype
    rounded_once(fused["w_fused"], weight)
    rounded_once(fused["w_bias"], bias)
    # ONNX Runtime has no float64 Conv.
    agree(model, outcome.after, reference=values["w"].dtype == np.float64)

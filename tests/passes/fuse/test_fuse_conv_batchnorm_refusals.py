"""fuse_conv_batchnorm: what it leaves alone, and the reason that the report counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from graphopt.passes.fuse.fuse_conv_batchnorm import FuseConvBatchnorm
from tests.build import parse
from tests.passes.placed import PLACES, Place, placed
from tests.passes.support import Array, agree, run

FUSE = FuseConvBatchnorm()
X = "float[2,3,5,5]"
Y = "float[2,4,3,3]"
CONV = "h = Conv(x, w, b)\n"
NORM = "n = BatchNormalization(h, scale, shift, mean, var)\n"
BODY = CONV + NORM + "y = Abs(n)"
TRAINING = "batchnorm in training form"


def parameters(**changed: Array) -> dict[str, Array]:
    rng = np.random.default_rng(3)
    made = {
        "w": rng.standard_normal((4, 3, 3, 3)),
        **{name: rng.standard_normal(4) for name in ("b", "scale", "shift", "mean")},
        "var": rng.random(4) + 0.1,
    }
    return {**{name: array.astype(np.float32) for name, array in made.items()}, **changed}


def refused(model: ModelProto, reason: str | None) -> None:
    """Assert that nothing is done, and that the one refusal is counted with its reason."""
    outcome = run(model, FUSE)
    assert outcome.unchanged
    assert outcome.skipped == ({} if reason is None else {reason: 1})
    assert outcome.left_out == []


BODIES: dict[str, tuple[str, str]] = {
    "two readers": (BODY + "\nz = Neg(h)", "conv output has 2 readers"),
    "three readers": (BODY + "\nz = Mul(h, h)", "conv output has 3 readers"),
    "read twice by the norm": (
        "h = Conv(x, w, b)\ny = BatchNormalization(h, scale, shift, mean, h)",
        "conv output has 2 readers",
    ),
    "bias is computed": (
        "s = ReduceSum <keepdims = 0> (x)\nd = Add(b, s)\nh = Conv(x, w, d)\n"
        + (NORM + "y = Abs(n)"),
        "a parameter is not a constant",
    ),
    "weight is computed": (
        "s = ReduceSum <keepdims = 0> (x)\nd = Add(w, s)\nh = Conv(x, d, b)\n"
        + (NORM + "y = Abs(n)"),
        "a parameter is not a constant",
    ),
    "variance is computed": (
        CONV + "s = ReduceMax <keepdims = 0> (x)\nd = Add(var, s)\n"
        "y = BatchNormalization(h, scale, shift, mean, d)",
        "a parameter is not a constant",
    ),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", BODIES)
def test_refused(case: str, place: Place) -> None:
    body, reason = BODIES[case]
    refused(placed(place, body, parameters(), x=X, y=Y), reason)


def test_no_conv_before_it() -> None:
    body = "h = Abs(x)\ny = BatchNormalization(h, scale, shift, mean, var)"
    refused(placed("main", body, parameters(), x="float[2,4,3,3]"), None)
    body = "y = BatchNormalization(x, scale, shift, mean, var)"
    refused(placed("main", body, parameters(), x="float[2,4,3,3]"), None)


def test_conv_output_is_a_graph_output() -> None:
    text = f'<ir_version: 10, opset_import: ["" : 18]> g ({X} x) => ({Y} y, {Y} h) {{ {BODY} }}'
    refused(parse(text, **parameters()), "conv output is a graph output")


def test_conv_output_is_a_body_output() -> None:
    text = f"""<ir_version: 10, opset_import: ["" : 18]>
        g ({X} x, bool c) => ({Y} y, {Y} k) {{
            y, k = If(c) <then_branch = t () => ({Y} v, {Y} h) {{
                {CONV} {NORM} v = Abs(n)
            }}, else_branch = e () => ({Y} p, {Y} q) {{ p = Conv(x, w, b) q = Abs(p) }}>
        }}"""
    refused(parse(text, **parameters()), "conv output is a graph output")


def test_training_mode() -> None:
    body = CONV + (
        "n = BatchNormalization <training_mode = 1> (h, scale, shift, mean, var)\ny = Abs(n)"
    )
    refused(placed("main", body, parameters(), x=X, y=Y), TRAINING)


@pytest.mark.parametrize("opset", [8, 13, 14])
def test_more_than_one_output(opset: int) -> None:
    mode = "<training_mode = 1>" if opset == 14 else ""
    rest = "rm, rv" if opset == 14 else "rm, rv, sm, sv"
    norm = f"n, {rest} = BatchNormalization {mode} (h, scale, shift, mean, var)\n"
    model = placed("main", CONV + norm + "y = Abs(n)", parameters(), x=X, y=Y, opset=opset)
    refused(model, TRAINING)


def test_left_out_outputs_do_not_count() -> None:
    body = CONV + 'n, "", "" = BatchNormalization(h, scale, shift, mean, var)\ny = Abs(n)'
    assert run(placed("main", body, parameters(), x=X, y=Y, opset=14), FUSE).rewrites == 1


@pytest.mark.parametrize("opset", [1, 6])
def test_below_opset_7_training_is_the_default(opset: int) -> None:
    refused(placed("main", BODY, parameters(), x=X, y=Y, opset=opset), TRAINING)


@pytest.mark.parametrize(("opset", "mode"), [(6, ", is_test = 1"), (7, ""), (8, "")])
def test_per_activation(opset: int, mode: str) -> None:
    norm = f"n = BatchNormalization <spatial = 0{mode}> (h, scale, shift, mean, var)\n"
    model = placed("main", CONV + norm + "y = Abs(n)", parameters(), x=X, y=Y, opset=opset)
    refused(model, "batchnorm per activation, not per channel")


NOT_POSITIVE = "variance plus epsilon is not positive"
NOT_FINITE = "a fused parameter is not finite"
KINDS = "parameters of different or unusual types"
SHAPES = "parameter shapes do not fit"


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


VALUES: dict[str, tuple[dict[str, Array], str]] = {
    "variance below -epsilon": ({"var": f32(1, 1, 1, -1)}, NOT_POSITIVE),
    "variance is NaN": ({"var": f32(1, 1, 1, np.nan)}, NOT_POSITIVE),
    "weight is NaN": ({"w": np.full((4, 3, 3, 3), np.nan, np.float32)}, NOT_FINITE),
    "scale is infinite": ({"scale": f32(1, np.inf, 1, 1)}, NOT_FINITE),
    "mean is infinite": ({"mean": f32(1, -np.inf, 1, 1)}, NOT_FINITE),
    "float32 overflow": ({"scale": f32(1, 1, 1, 3e38), "var": f32(1, 1, 1, 0)}, NOT_FINITE),
    "too few channels": ({"scale": f32(1, 2, 3)}, SHAPES),
    "one value for all": ({"mean": f32(1)}, SHAPES),
    "a column": ({"shift": np.ones((4, 1), np.float32)}, SHAPES),
    "bias of the wrong length": ({"b": f32(1, 2)}, SHAPES),
}  # fmt: skip


@pytest.mark.parametrize("case", VALUES)
def test_refused_values(case: str) -> None:
    changed, reason = VALUES[case]
    refused(placed("main", BODY, parameters(**changed), x=X, y=Y), reason)


def test_zero_variance_and_zero_epsilon() -> None:
    norm = "n = BatchNormalization <epsilon = 0.0> (h, scale, shift, mean, var)\n"
    values = parameters(var=f32(1, 0, 1, 1))
    refused(placed("main", CONV + norm + "y = Abs(n)", values, x=X, y=Y), NOT_POSITIVE)


def typed(dtype: Any, **changed: Any) -> ModelProto:
    """The pattern with parameters of `dtype`, but those that are named, of their own."""
    values = {name: array.astype(changed.get(name, dtype)) for name, array in parameters().items()}
    kind = TensorProto.DataType.Name(helper.np_dtype_to_tensor_dtype(np.dtype(dtype))).lower()
    return placed("main", BODY, values, x=X.replace("float", kind), y=Y.replace("float", kind))


def test_float16_overflow() -> None:
    model = typed(np.float16)
    for tensor in model.graph.initializer:
        if tensor.name == "scale":
            tensor.raw_data = np.array([1, 1, 3e4, 1], np.float16).tobytes()
        if tensor.name == "var":
            tensor.raw_data = np.array([1, 1, 0, 1], np.float16).tobytes()
    refused(model, NOT_FINITE)


@pytest.mark.parametrize("other", ["mean", "scale"])
def test_different_types(other: str) -> None:
    refused(typed(np.float16, **{other: np.float32}), KINDS)


def test_overridable_initializers() -> None:
    for name in parameters():
        shape = ",".join(map(str, parameters()[name].shape))
        text = (
            f'<ir_version: 10, opset_import: ["" : 18]> g ({X} x, float[{shape}] {name})'
            f" => ({Y} y) {{ {BODY} }}"
        )
        refused(parse(text, **parameters()), "a parameter is not a constant")


def test_conv_outside_and_norm_inside_a_body() -> None:
    model = parse(
        f"""<ir_version: 10, opset_import: ["" : 18]>
        g ({X} x, bool c) => ({Y} y) {{
            {CONV}
            y = If(c) <then_branch = t () => ({Y} p) {{ {NORM} p = Abs(n) }},
                       else_branch = e () => ({Y} q) {{ q = Conv(x, w, b) }}>
        }}""",
        **parameters(),
    )
    refused(model, "conv and what follows stand in different graphs")


def test_the_norms_output_is_read_where_the_convs_name_means_something_else() -> None:
    """A body's initializer may be called as the Conv's output is; its reader must not get that."""
    model = parse(
        f"""<ir_version: 10, opset_import: ["" : 18]>
        g ({X} x, bool c) => ({Y} y) {{
            {CONV} {NORM}
            y = If(c) <then_branch = t () => ({Y} p) <float[1] h = {{2.0}}> {{ p = Mul(n, h) }},
                       else_branch = e () => ({Y} q) {{ q = Abs(n) }}>
        }}""",
        **parameters(),
    )
    outcome = run(model, FUSE)
    agree(outcome.before, outcome.after)


def test_a_conv_of_another_domain() -> None:
    text = f"""<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>
        g ({X} x) => ({Y} y) {{ h = com.example.Conv(x, w, b) {NORM} y = Abs(n) }}"""
    refused(parse(text, **parameters()), "the conv is not a plain one")


def test_attributes_that_refer_to_a_functions_own() -> None:
    text = f"""<ir_version: 10, opset_import: ["" : 18, "local" : 1]>
        g ({X} x) => ({Y} y) {{ y = local.piece <e = 0.5> (x) }}
        <domain: "local", opset_import: ["" : 18]> piece <e> (x) => (y) {{
            w = Constant <value = float[1,3,1,1] {{1.0, 2.0, 3.0}}> ()
            v = Constant <value = float[1] {{1.0}}> ()
            h = Conv(x, w)
            y = BatchNormalization <epsilon: float = @e> (h, v, v, v, v)
        }}"""
    assert run(parse(text), FUSE).unchanged

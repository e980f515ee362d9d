"""fuse_gemm_batchnorm: what it leaves alone, and the reason that the report counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from graphopt.passes.fuse.fuse_gemm_batchnorm import FuseGemmBatchnorm
from tests.build import parse
from tests.passes.fuse.fused import dims, f32, normal, refused
from tests.passes.placed import PLACES, Place, placed
from tests.passes.support import Array, agree, run

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

FUSE = FuseGemmBatchnorm()
X = "float[2,3]"
Y = "float[2,4]"
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
GEMM = "h = Gemm(x, w, b)\n"
NORM = "n = BatchNormalization(h, scale, shift, mean, var)\n"
BODY = GEMM + NORM + "y = Relu(n)"
ADDEND = "the addend is not a constant of the weight's type"
NOT_CONSTANT = "a parameter is not a constant"
NOT_FINITE = "a fused parameter is not finite"
NOT_PLAIN = "the gemm is not a plain one beside the batchnorm"
READ = "the product is read elsewhere"
SHARED = "the weight is shared"
TRAINING = "batchnorm in training form"
WEIGHT = "the weight is not a constant of a floating-point type"


def values(dtype: Any = np.float32, **changed: Array) -> dict[str, Array]:
    made = {
        "w": normal(3, 4),
        **{name: normal(4, seed=i) for i, name in enumerate(("b", "scale", "shift", "mean"))},
        "var": np.abs(normal(4, seed=9)) + 0.1,
    }
    return {**{name: array.astype(dtype) for name, array in made.items()}, **changed}


def main(body: str = BODY, x: str = X, y: str = Y, opset: int = 18, **changed: Array) -> ModelProto:
    return placed("main", body, values(**changed), x=x, y=y, opset=opset)


BODIES: dict[str, tuple[str, str | None]] = {
    "no gemm": ("k = Gemm(x, w, b)\nh = Abs(k)\n" + NORM + "y = Abs(n)", None),
    "a product": ("h = MatMul(x, w)\n" + NORM + "y = Abs(n)", None),
    "two readers": (BODY + "\nz = Neg(h)", READ),
    "read twice by the norm": (GEMM + "y = BatchNormalization(h, scale, shift, mean, h)", READ),
    "weight computed": ("v = Abs(w)\nh = Gemm(x, v, b)\n" + NORM + "y = Abs(n)", WEIGHT),
    "addend computed": ("v = Abs(b)\nh = Gemm(x, w, v)\n" + NORM + "y = Abs(n)", ADDEND),
    "variance computed": (GEMM + "v = Abs(var)\ny = BatchNormalization(h, scale, shift, mean, v)",
                          NOT_CONSTANT),
    "weight read by another": (BODY + "\nz = Abs(w)", SHARED),
    "two gemms": (GEMM + NORM + "k = Gemm(x, w)\ny = Sub(n, k)", SHARED),
    "training": (GEMM + "n = BatchNormalization <training_mode = 1> (h, scale, shift, mean, var)\n"
                 "y = Abs(n)", TRAINING),
    "more outputs": (GEMM + "n, m, v = BatchNormalization <training_mode = 1> (h, scale, shift,"
                     " mean, var)\ny = Abs(n)", TRAINING),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", BODIES)
def test_refused(case: str, place: Place) -> None:
    body, reason = BODIES[case]
    refused(placed(place, body, values(), x=X, y=Y), FUSE, reason)


@pytest.mark.parametrize("shape", [(2, 1), (2, 4)])
def test_addends_that_are_no_rows(shape: tuple[int, ...]) -> None:
    refused(main(b=normal(*shape)), FUSE, "the addend is not a row")


@pytest.mark.parametrize("opset", [7, 8])
def test_per_activation(opset: int) -> None:
    norm = "n = BatchNormalization <spatial = 0> (h, scale, shift, mean, var)\n"
    model = main(GEMM + norm + "y = Abs(n)", opset=opset)
    refused(model, FUSE, "batchnorm per activation, not per channel")


def test_below_opset_7() -> None:
    body = "h = Gemm <broadcast = 1> (x, w, b)\n" + NORM.replace("(h", "<is_test = 1> (h")
    refused(main(body + "y = Abs(n)", opset=6), FUSE, "Gemm broadcasts from opset 7 on")


NOT_POSITIVE = "variance plus epsilon is not positive"
VALUES: dict[str, tuple[dict[str, Array], str, str]] = {
    "weight infinite": ({"w": np.full((3, 4), np.inf, np.float32)}, "", NOT_FINITE),
    "weight infinite, scale 0": (
        {"w": np.full((3, 4), np.inf, np.float32), "scale": f32(0, 1, 1, 1)}, "", NOT_FINITE),
    "addend infinite, scale 0": (
        {"b": f32(np.inf, 1, 1, 1), "scale": f32(0, 1, 1, 1)}, "", NOT_FINITE),
    "addend infinite, beta 0": ({"b": f32(np.inf, 1, 1, 1)}, "<beta = 0.0>", NOT_FINITE),
    "addend and mean infinite": (
        {"b": f32(np.inf, 1, 1, 1), "mean": f32(np.inf, 1, 1, 1)}, "", NOT_FINITE),
    "shift is NaN": ({"shift": f32(np.nan, 1, 1, 1)}, "", NOT_FINITE),
    "weight overflows": ({"scale": f32(3e38, 1, 1, 1), "var": f32(0, 1, 1, 1)}, "", NOT_FINITE),
    "weight alone overflows": (
        {"scale": f32(3e38, 1, 1, 1), "b": f32(0, 0, 0, 0), "mean": f32(0, 0, 0, 0)},
        "", NOT_FINITE),
    "addend overflows": ({"b": f32(3e38, 1, 1, 1)}, "<beta = 100.0>", NOT_FINITE),
    "variance below -epsilon": ({"var": f32(1, 1, 1, -1)}, "", NOT_POSITIVE),
    "variance is NaN": ({"var": f32(1, 1, 1, np.nan)}, "", NOT_POSITIVE),
}  # fmt: skip


@pytest.mark.parametrize("case", VALUES)
def test_refused_values(case: str) -> None:
    changed, attributes, reason = VALUES[case]
    body = f"h = Gemm {attributes} (x, w, b)\n" + NORM + "y = Abs(n)"
    refused(placed("main", body, values(**changed), x=X, y=Y), FUSE, reason)


@pytest.mark.parametrize("changed", [{"scale": f32(1)}, {"mean": f32(1, 2, 3)}])
def test_parameter_shapes_that_do_not_fit(changed: dict[str, Array]) -> None:
    outcome = run(placed("main", BODY, values(**changed), x=X, y=Y), FUSE)
    assert outcome.unchanged
    (reason,) = outcome.skipped
    assert "conv" not in reason


def test_an_addend_of_another_type() -> None:
    refused(main(b=normal(4, dtype=np.float64)), FUSE, ADDEND)


def test_different_types() -> None:
    constants = values(np.float16, mean=normal(4), var=np.abs(normal(4)))
    x, y = X.replace("float", "float16"), Y.replace("float", "float16")
    model = placed("main", BODY, constants, x=x, y=y)
    refused(model, FUSE, "parameters of different or unusual types")


def test_a_fused_weight_that_vanishes() -> None:
    """Gemm and norm give normal numbers; a weight rounded to a few bits would not."""
    none = np.zeros(4, np.float16)
    constants = values(np.float16, b=none, mean=none, shift=none, var=none + 1)
    constants |= {"w": constants["w"] / 100, "scale": none + np.float16(1e-4)}
    x, y = X.replace("float", "float16"), Y.replace("float", "float16")
    model = placed("main", BODY, constants, x=x, y=y)
    agree(model, run(model, FUSE).after, [{"x": np.full((2, 3), 6e4, np.float16)}])


def test_the_product_is_a_graph_output() -> None:
    text = f"{HEAD} g ({X} x) => ({Y} y, {Y} h) {{ {BODY} }}"
    refused(parse(text, **values()), FUSE, READ)


def test_the_norm_stands_in_a_body() -> None:
    text = f"""{HEAD} g ({X} x, bool c) => ({Y} y) {{
        {GEMM}
        y = If(c) <then_branch = t () => ({Y} p) {{ {NORM} p = Abs(n) }},
                   else_branch = e () => ({Y} q) {{ q = Gemm(x, w, b) }}>
    }}"""
    refused(parse(text, **values()), FUSE, NOT_PLAIN)


@pytest.mark.parametrize(
    ("name", "reason"), [("w", WEIGHT), ("b", ADDEND), ("scale", NOT_CONSTANT)]
)
def test_overridable_initializers(name: str, reason: str) -> None:
    text = f"{HEAD} g ({X} x, float{dims(values()[name])} {name}) => ({Y} y) {{ {BODY} }}"
    refused(parse(text, **values()), FUSE, reason)


def test_other_domains() -> None:
    for old, reason in (("Gemm", NOT_PLAIN), ("BatchNormalization", None)):
        nodes = BODY.replace(old, f"com.example.{old}")
        refused(parse(f"{HEAD} g ({X} x) => ({Y} y) {{ {nodes} }}", **values()), FUSE, reason)

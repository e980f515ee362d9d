"""eliminate_defaults: biases, bounds, steps and the like that say nothing, and those that do."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import graphopt
from graphopt.engine.recipe import parse_recipe
from graphopt.passes.eliminate.eliminate_defaults import EliminateDefaults
from tests.build import parse
from tests.passes.placed import PLACES, Place, piece, placed
from tests.passes.support import Array, agree, run

PASS = EliminateDefaults()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
ALONE = 'admits = "identical"\n[[stage]]\n[[stage.pass]]\nname = "eliminate_defaults"'


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


def zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


W = np.random.default_rng(2).standard_normal((3, 2, 2, 2)).astype(np.float32)
M = np.random.default_rng(2).standard_normal((3, 4)).astype(np.float32)
IMAGE = "float[1,2,4,4]"
Case = tuple[str, str, dict[str, Array], bool]
"""Node, type of x, constants, and whether every bit stays."""
DROPPED: dict[str, Case] = {
    "Conv(x, w)": ("Conv(x, w, b)", IMAGE, {"w": W, "b": zeros(3)}, False),
    "ConvTranspose(x, w)": (
        "ConvTranspose(x, w, b)", "float[1,3,4,4]", {"w": W, "b": -zeros(2)}, False,
    ),
    "Gemm(x, w)": ("Gemm(x, w, b)", "float[2,3]", {"w": M, "b": zeros(4)}, False),
    "Gemm(x, v)": ("Gemm <beta = 0.0> (x, v, c)", "float[2,3]", {"v": M, "c": f32(7)}, False),
    "Clip(x, , h)": (
        "Clip(x, l, h)", "float[2,3]",
        {"l": np.array(np.finfo(np.float32).min), "h": np.array(6, np.float32)}, True,
    ),
    "Clip(x, l)": (
        "Clip(x, l, h)", "int8[2,3]",
        {"l": np.array(0, np.int8), "h": np.array(127, np.int8)}, True,
    ),
    "Pad(x, p)": (
        "Pad(x, p, v)", "float[2,3]", {"p": np.array([0, 1, 0, 0]), "v": np.array(0, np.float32)},
        True,
    ),
    "Pad(x, p, , a)": (
        "Pad(x, p, v, a)", "float[2,3]",
        {"p": np.array([0, 1]), "v": np.array(0, np.float32), "a": np.array([1])}, True,
    ),
    "Slice(x, s, e, a)": (
        "Slice(x, s, e, a, t)", "float[2,3]",
        {"s": np.array([1]), "e": np.array([2]), "a": np.array([1]), "t": np.array([1])}, True,
    ),
    "Resize(x, , s)": (
        "Resize(x, r, s)", IMAGE, {"r": f32(), "s": f32(1, 1, 2, 2)}, True,
    ),
    "Resize(x, , , z)": (
        "Resize(x, r, e, z)", IMAGE,
        {"r": f32(), "e": f32(), "z": np.array([1, 2, 8, 8])}, True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", DROPPED)
def test_left_out(case: str, place: Place) -> None:
    form, x, constants, identical = DROPPED[case]
    typed = shaped(form, x, constants)
    model = placed(place, f"q = {form}\ny = Neg(q)", constants, x=x, y=typed)
    outcome = run(model, PASS)
    assert piece(outcome.after, place)[0] == f"q = {case}"
    agree(model, outcome.after, exact=identical)
    report = graphopt.optimize(model, parse_recipe(ALONE, "mine")).report
    assert report.changed == identical


def shaped(form: str, x: str, constants: dict[str, Array]) -> str:
    """The type of the node's output, as ONNX infers it."""
    text = f"{HEAD} g ({x} x) => ({x.partition('[')[0]} y) {{ y = {form} }}"
    model = parse(text, **constants)
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    sizes = [str(d.dim_value) for d in inferred.graph.output[0].type.tensor_type.shape.dim]
    return f"{x.partition('[')[0]}[{','.join(sizes)}]"


KEPT: dict[str, Case] = {
    "a bias": ("Conv(x, w, b)", IMAGE, {"w": W, "b": f32(0, 0, 1e-45)}, True),
    "an addend": ("Gemm(x, w, b)", "float[2,3]", {"w": M, "b": f32(1)}, True),
    "an infinite addend": (
        "Gemm <beta = 0.0> (x, w, b)", "float[2,3]", {"w": M, "b": f32(np.inf)}, True,
    ),
    "an infinite bound": (
        "Clip(x, l)", "float[2,3]", {"l": np.array(-np.inf, np.float32)}, True,
    ),
    "a bound": ("Clip(x, l)", "float[2,3]", {"l": np.array(0, np.float32)}, True),
    "a value": (
        "Pad(x, p, v)", "float[2,3]", {"p": np.array([0, 1, 0, 0]), "v": np.array(1, np.float32)},
        True,
    ),
    "steps": (
        "Slice(x, s, e, a, t)", "float[2,3]",
        {"s": np.array([0]), "e": np.array([3]), "a": np.array([1]), "t": np.array([2])}, True,
    ),
    "a region": (
        'Resize <coordinate_transformation_mode = "tf_crop_and_resize"> (x, r, s)', IMAGE,
        {"r": f32(0, 0, 0, 0, 1, 1, 1, 1), "s": f32(1, 1, 2, 2)}, True,
    ),
    "scales": ("Resize(x, , s)", IMAGE, {"s": f32(1, 1, 2, 2)}, True),
}  # fmt: skip


@pytest.mark.parametrize("case", KEPT)
def test_what_says_something_stays(case: str) -> None:
    form, x, constants, _ = KEPT[case]
    model = placed("main", f"q = {form}\ny = Neg(q)", constants, x=x, y="float[?,?]")
    assert run(model, PASS).unchanged


LEGACY: dict[str, tuple[int, str, str, dict[str, Array]]] = {
    "Gemm needs its C": (10, "Gemm(x, w, b)", "float[2,3]", {"w": M, "b": zeros(4)}),
    "Resize needs its roi": (11, "Resize(x, r, s)", IMAGE, {"r": f32(), "s": f32(1, 1, 2, 2)}),
}


@pytest.mark.parametrize("case", LEGACY)
def test_older_opsets(case: str) -> None:
    opset, form, x, constants = LEGACY[case]
    body = f"q = {form}\ny = Neg(q)"
    model = placed("main", body, constants, x=x, y="float[?]", opset=opset, ir=8)
    assert run(model, PASS).unchanged

"""quantize_weights: text in, text out; every place; each refusal; what ONNX Runtime makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto

import graphopt
from graphopt.contract import Effect
from graphopt.engine import PassSpec, Recipe, Stage, make_pass, optimize_model
from graphopt.errors import UsageError
from graphopt.model import load_model
from graphopt.passes.quantize.quantize_weights import QuantizeWeights
from tests.build import parse
from tests.passes.contract_checks import check_pass
from tests.passes.placed import PLACES, Place, piece, placed, scope_of
from tests.passes.support import (
    Array,
    answers,
    bodies,
    constants,
    lines,
    random_feeds,
    run,
    weights,
)

ANY = QuantizeWeights(min_elements=1)
ROWS = QuantizeWeights(min_elements=1, elements_per_scale=32, axis=0)
"""One scale for each row of 32 elements."""
RUNS = QuantizeWeights(min_elements=1, elements_per_scale=8)
"""Several scales a row."""
X, Y = "float[2,64]", "float[2,32]"
PRODUCT = "y = MatMul(x, w)"
STORED = ["q_Cast = Cast(w_q)", "q_Mul = Mul(q_Cast, q_s)", "y = MatMul(x, q_Mul)"]


def normal(*shape: int, dtype: Any = np.float32, seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def main(body: str, w: Array | None = None, **options: Any) -> ModelProto:
    given = normal(64, 32) if w is None else w
    return placed("main", body, {"w": given}, **{"x": X, "y": Y, **options})


def snr_db(before: ModelProto, after: ModelProto) -> float:
    signal = noise = 0.0
    for seed in range(3):
        feeds = random_feeds(before, seed)
        for a, b in zip(
            answers(before, feeds, reference=False),
            answers(after, feeds, reference=False),
            strict=True,
        ):
            signal += float(np.square(a, dtype=np.float64).sum())
            noise += float(np.square(a.astype(np.float64) - b).sum())
    return 10 * np.log10(signal / noise) if noise else np.inf


def deployed(model: ModelProto, folder: Path) -> ModelProto:
    """The model as ONNX Runtime runs it once it has folded constants."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "deployed.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "deployed.onnx")


def restoring(model: ModelProto) -> list[str]:
    """The nodes that make a weight of codes and scales, wherever they stand."""
    found = [*lines(model.graph), *(line for f in model.functions for line in lines(f))]
    return [line for line in found if "= Mul(" in line or "= Reshape(" in line]


def test_keeps_every_promise() -> None:
    check_pass(ANY)
    check_pass(RUNS)


@pytest.mark.parametrize("place", PLACES)
def test_stores_codes_and_scales(place: Place) -> None:
    outcome = run(placed(place, PRODUCT, {"w": normal(64, 32)}, x=X, y=Y), ROWS)
    assert piece(outcome.after, place) == STORED
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    scope = scope_of(outcome.after, place)
    kept = constants(scope) if isinstance(scope, onnx.FunctionProto) else weights(scope)
    assert {name: f"{a.dtype}{list(a.shape)}" for name, a in kept.items() if name[0] in "wq"} == {
        "w_q": "int8[64, 32]",
        "q_s": "float32[64, 1]",
    }
    assert snr_db(outcome.before, outcome.after) > 40


@pytest.mark.parametrize("place", ["if", "loop"])
def test_a_weight_read_in_a_body_is_restored_where_it_is_stored(
    place: Place, tmp_path: Path
) -> None:
    model = placed(place, PRODUCT, {"w": normal(64, 32)}, x=X, y=Y, captured=True)
    outcome = run(model, ROWS)
    assert piece(outcome.after, place) == STORED[-1:]
    assert outcome.lines[:2] == STORED[:2] or outcome.lines[1:3] == STORED[:2]
    assert snr_db(outcome.before, outcome.after) > 40
    assert len(restoring(outcome.after)) == 1
    assert restoring(deployed(outcome.after, tmp_path)) == []


@pytest.mark.parametrize("place", PLACES)
def test_runtime_folds_what_is_new(place: Place, tmp_path: Path) -> None:
    """Nothing is left of it in the session: the model runs as fast as before."""
    outcome = run(placed(place, PRODUCT, {"w": normal(64, 32)}, x=X, y=Y), RUNS)
    assert len(restoring(outcome.after)) == 2
    optimised = deployed(outcome.after, tmp_path)
    assert restoring(optimised) == []
    assert snr_db(outcome.before, optimised) == pytest.approx(
        snr_db(outcome.before, outcome.after), abs=0.5
    )


def test_runs_within_an_axis_need_a_reshape() -> None:
    outcome = run(main(PRODUCT), RUNS)
    *restored, product = outcome.lines
    assert restored == [*STORED[:2], "q_Reshape = Reshape(q_Mul, q_shape)"]
    assert product == "y = MatMul(x, q_Reshape)"
    assert outcome.weights["w_q"].ndim == 3
    assert outcome.weights["q_shape"].tolist() == [64, 32]
    assert snr_db(outcome.before, outcome.after) > 40


def test_one_form_serves_all_readers() -> None:
    body = "a = MatMul(x, w)\nb = MatMul(x, w)\nt = Gather(w, i)\nc = Add(a, t)\ny = Add(b, c)"
    model = main(f"i = Constant <value = int64[2] {{3, 1}}> ()\n{body}")
    outcome = run(model, ROWS)
    assert outcome.rewrites == 1
    assert sum("= Cast(" in line for line in outcome.lines) == 1
    assert sum("q_Mul" in line for line in outcome.lines) == 4
    assert snr_db(outcome.before, outcome.after) > 40


def test_two_readers_in_two_branches() -> None:
    model = parse(
        """g (float[2,64] x, bool c) => (float[2,32] y) {
            y = If(c) <
                then_branch = a () => (float[2,32] p) { p = MatMul(x, w) },
                else_branch = b () => (float[2,32] q) { n = Neg(x)  q = MatMul(n, w) }
            >
        }""",
        w=normal(64, 32),
    )
    outcome = run(model, ROWS)
    assert outcome.rewrites == 1
    assert [line for line in outcome.lines if line[0] != " "][:2] == STORED[:2]
    assert {tuple(lines(g)[-1:]) for g in bodies(outcome.after.graph).values()} == {
        ("p = MatMul(x, q_Mul)",), ("q = MatMul(n, q_Mul)",),
    }  # fmt: skip
    assert snr_db(outcome.before, outcome.after) > 40


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_scales_have_the_weights_own_type(dtype: Any) -> None:
    name = {np.float16: "float16", np.float64: "double"}[dtype]
    model = main(
        PRODUCT, normal(64, 32, dtype=dtype), x=f"{name}[2,64]", y=f"{name}[2,32]", opset=18
    )
    outcome = run(model, ROWS)
    assert outcome.lines == STORED
    assert outcome.weights["q_s"].dtype == dtype
    assert snr_db(outcome.before, outcome.after) > 40


@pytest.mark.parametrize("opset", [7, 8, 9, 11, 12, 13, 14, 18, 21])
def test_every_opset_from_7_on(opset: int) -> None:
    outcome = run(main(PRODUCT, opset=opset), ANY)
    assert outcome.rewrites == 1
    assert outcome.after.opset_import[0].version == opset
    assert snr_db(outcome.before, outcome.after) > 40


def test_an_older_opset_is_refused_with_the_reason() -> None:
    outcome = run(main(PRODUCT, opset=6, ir=4), ANY)
    assert outcome.unchanged
    assert outcome.skipped == {"Mul does not broadcast before opset 7": 1}


READERS = {
    "Conv": ("y = Conv(x, w)", (32, 8, 3, 3), "float[1,8,6,6]", "float[1,32,4,4]"),
    "grouped Conv": (
        "y = Conv <group = 4> (x, w)", (32, 8, 3, 3), "float[1,32,6,6]", "float[1,32,4,4]",
    ),
    "ConvTranspose": (
        "y = ConvTranspose(x, w)", (8, 32, 3, 3), "float[1,8,4,4]", "float[1,32,6,6]",
    ),
    "Gemm": ("y = Gemm(x, w)", (64, 32), X, Y),
    "Gemm, transposed": ("y = Gemm <transB = 1> (x, w)", (32, 64), X, Y),
    "Gemm, first operand": ("y = Gemm(w, x)", (32, 64), "float[64,2]", "float[32,2]"),
    "MatMul of many": ("y = MatMul(x, w)", (3, 64, 32), "float[3,2,64]", "float[3,2,32]"),
    "MatMul, first operand": ("y = MatMul(w, x)", (32, 64), "float[64,2]", "float[32,2]"),
    "Gather": (
        "i = Cast <to = 7> (x)\ny = Gather(w, i)", (90, 32), "float[2,3]", "float[2,3,32]",
    ),
    "Einsum": ('y = Einsum <equation = "bk,kn->bn"> (x, w)', (64, 32), X, Y),
    "Add": ("y = Add(x, w)", (64, 32), "float[2,64,32]", "float[2,64,32]"),
    "Where": (
        "m = Greater(x, zero)\ny = Where(m, x, w)", (64, 32), "float[2,64,32]", "float[2,64,32]",
    ),
    "LSTM": (
        "y, h, c = LSTM <hidden_size = 16> (x, w, r)", (1, 64, 24), "float[5,2,24]",
        "float[5,1,2,16]",
    ),
    "through Transpose": ("t = Transpose <perm = [1, 0]> (w)\ny = MatMul(x, t)", (32, 64), X, Y),
    "through Reshape": ("t = Reshape(w, flat)\ny = MatMul(x, t)", (8, 8, 32), X, Y),
    "through Cast": ("t = Cast <to = 1> (w)\ny = MatMul(x, t)", (64, 32), X, Y),
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_readers_of_data(name: str) -> None:
    body, shape, x, y = READERS[name]
    given = normal(*shape, dtype=np.float16 if "Cast" in name else np.float32)
    more: dict[str, Array] = {
        "zero": np.zeros((), np.float32),
        "r": normal(1, 64, 16) * 0.1,
        "flat": np.array([64, 32]),
    }
    used = {key: array for key, array in more.items() if f" {key})" in f"{body} "}
    model = placed("main", body, {"w": given, **used}, x=x, y=y)
    outcome = run(model, QuantizeWeights(min_elements=1100))
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    assert outcome.weights["w_q"].dtype == np.int8
    assert snr_db(outcome.before, outcome.after) > 35


REFUSED = {
    "bounds": ("y = Div(x, w)", "Div reads it exactly"),
    "exponents": ("y = Pow(x, w)", "Pow reads it exactly"),
    "whole numbers": (
        "i = Cast <to = 7> (w)\nf = Cast <to = 1> (i)\ny = Add(x, f)", "Cast reads it exactly",
    ),
    "comparison": (
        "b = Greater(x, w)\nf = Cast <to = 1> (b)\ny = Add(x, f)", "Greater reads it exactly",
    ),
    "behind a Reshape": ("t = Reshape(w, flat)\ny = Div(x, t)", "Div reads it exactly"),
    "one reader of two": ("a = Add(x, w)\ny = Div(a, w)", "Div reads it exactly"),
    "another domain": (
        "y = com.microsoft.BiasGelu(x, w)", "a node that is left alone reads it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_exact_readers_are_refused(name: str) -> None:
    body, reason = REFUSED[name]
    model = placed(
        "main", body, {"w": normal(64, 32), "flat": np.array([64, 32])},
        x="float[64,32]", y="float[64,32]",
    )  # fmt: skip
    model.opset_import.add(domain="com.microsoft", version=1)
    outcome = run(model, ANY)
    assert outcome.unchanged
    assert outcome.skipped == {reason: 1}


def test_graph_outputs_stay() -> None:
    model = parse("g (float[2,64] x) => (float[2,32] y, float[64,32] w) { y = MatMul(x, w) }",
                  w=normal(64, 32))  # fmt: skip
    assert run(model, ANY).skipped == {"it is a graph output": 1}
    handed_on = parse(
        """g (float[2,64] x) => (float[2,32] y, float[32,64] t) {
            t = Transpose <perm = [1, 0]> (w)  y = MatMul(x, w)
        }""",
        w=normal(64, 32),
    )
    assert run(handed_on, ANY).skipped == {"it is a graph output": 1}


def test_overridable_initializers_stay() -> None:
    text = "g (float[2,64] x, float[64,32] w) => (float[2,32] y) { y = MatMul(x, w) }"
    assert run(parse(text, w=normal(64, 32)), ANY).unchanged


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_stay(bad: float) -> None:
    given = normal(64, 32)
    given[3, 4] = bad
    outcome = run(main(PRODUCT, given), ANY)
    assert outcome.unchanged
    assert outcome.skipped == {"its values are not finite": 1}


def test_vectors_and_small_weights_stay() -> None:
    body = "a = MatMul(x, w)\ny = Add(a, b)"
    model = placed("main", body, {"w": normal(64, 32), "b": normal(32)}, x=X, y=Y)
    outcome = run(model, QuantizeWeights(min_elements=2049))
    assert outcome.skipped == {"it has fewer than 2049 elements": 1}
    assert run(model, QuantizeWeights(min_elements=2048)).rewrites == 1


def test_bfloat16_stays() -> None:
    given = normal(64, 32).astype(ml_dtypes.bfloat16)
    model = main("f = Cast <to = 1> (w)\ny = MatMul(x, f)", given)
    assert run(model, ANY).skipped == {"its type is bfloat16": 1}


def test_what_would_not_shrink_stays() -> None:
    model = main(PRODUCT, normal(8, 2), x="float[2,8]", y="float[2,2]")
    outcome = run(model, ANY)
    assert outcome.unchanged
    assert outcome.skipped == {"codes and scales would take as many bytes": 1}


@pytest.mark.parametrize("shape", [(9, 9), (12, 8), (10, 11), (40, 2), (5, 60)])
@pytest.mark.parametrize("place", PLACES)
def test_what_changes_shrinks(shape: tuple[int, int], place: Place) -> None:
    long_name = "a_name_that_takes_more_bytes_than_some_weights_do"
    model = placed(
        place, f"y = MatMul(x, {long_name})", {long_name: normal(*shape)},
        x=f"float[2,{shape[0]}]", y=f"float[2,{shape[1]}]",
    )  # fmt: skip
    outcome = run(model, RUNS)
    assert outcome.unchanged or outcome.after.ByteSize() < outcome.before.ByteSize()


def test_another_tools_codes_and_scales_stay() -> None:
    body = "c = Cast <to = 1> (codes)\nw = Mul(s, c)\ny = MatMul(x, w)"
    codes = np.random.default_rng(0).integers(-127, 128, (2, 64, 32)).astype(np.int8)
    model = placed(
        "main", body, {"codes": codes, "s": normal(2, 64, 1)}, x="float[2,64]", y="float[2,2,32]"
    )
    outcome = run(model, ANY)
    assert outcome.unchanged
    assert outcome.skipped == {}


def test_a_second_run_makes_no_edit() -> None:
    weight = normal(4, 64, 24)
    model = placed("main", "y = MatMul(x, w)", {"w": weight}, x="float[4,2,64]", y="float[4,2,24]")
    first = run(model, RUNS)
    assert first.rewrites == 1
    assert run(first.model, ANY).unchanged


def test_a_named_axis() -> None:
    given = normal(64, 32)
    for axis, shape in ((0, (64, 1)), (1, (1, 32)), (-1, (1, 32))):
        instance = QuantizeWeights(min_elements=1, elements_per_scale=2048, axis=axis)
        assert run(main(PRODUCT, given), instance).weights["q_s"].shape == shape
    far = run(main(PRODUCT, given), QuantizeWeights(min_elements=1, axis=2))
    assert far.skipped == {"there is nothing along axis 2": 1}


def test_the_axis_with_the_least_noise_is_found() -> None:
    spread = np.float32(10) ** np.arange(-16, 16, dtype=np.float32)
    for given, shape in ((normal(64, 32) * spread, (1, 32)), (normal(64, 32).T, (32, 1))):
        model = main(PRODUCT, np.ascontiguousarray(given), x=f"float[2,{given.shape[0]}]",
                     y=f"float[2,{given.shape[1]}]")  # fmt: skip
        outcome = run(model, QuantizeWeights(min_elements=1, elements_per_scale=64))
        assert outcome.weights["q_s"].shape == shape


def test_options_are_checked() -> None:
    with pytest.raises(UsageError, match="bits = 4; only 8"):
        make_pass("quantize_weights", {"bits": "4"})
    with pytest.raises(ValueError, match="min_elements = 0 is not"):
        QuantizeWeights(min_elements=0)
    with pytest.raises(UsageError, match="axis"):
        make_pass("quantize_weights", {"axis": "channel"})
    made = make_pass("quantize_weights", {"axis": "1", "min_elements": "7"})
    assert made == QuantizeWeights(axis=1, min_elements=7)


def test_a_recipe_that_admits_no_loss_keeps_it_out() -> None:
    stages = (Stage((PassSpec.of(ANY),)),)
    for admits, rewrites in ((Effect.LOSSY, 1), (Effect.ROUNDING, 0)):
        recipe = Recipe("test", stages, admits)
        report = optimize_model(load_model(main(PRODUCT)), recipe).report
        assert report.rewrites() == {"quantize_weights": rewrites}
        assert report.status == "verified"
    assert report.stages[0].passes[0].skipped == {"the recipe does not admit lossy rewrites": 1}


def test_the_loss_is_measured_as_deployed_too() -> None:
    report = graphopt.optimize(main(PRODUCT), passes=[ANY]).report
    losses = {loss.level: loss.snr_db for loss in report.stages[0].verification.losses}
    assert set(losses) == {"off", "all"}
    assert min(losses.values()) > 40


def test_what_the_user_excludes_keeps_its_weight() -> None:
    model = main(PRODUCT)
    model.graph.node[0].name = "head"
    assert not graphopt.optimize(model, passes=[ANY], exclude_nodes=["head"]).report.changed
    assert graphopt.optimize(model, passes=[ANY]).report.changed


def test_a_weight_in_an_excluded_constant_node_stays() -> None:
    model = main(PRODUCT)
    tensor = model.graph.initializer.pop()
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["w"], "kept", value=tensor))
    assert not graphopt.optimize(model, passes=[ANY], exclude_nodes=["kept"]).report.changed
    assert graphopt.optimize(model, passes=[ANY]).report.changed

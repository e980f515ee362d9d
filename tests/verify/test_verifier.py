from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from graphopt.contract import Effect
from graphopt.errors import DataError, ProviderUnavailable
from graphopt.model import Model
from graphopt.report import Check, Verification
from graphopt.verify.numeric import CONSTANT
from tests.build import parse
from tests.verify.conftest import Compare, MakeVerifier

W = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


def linear(weight: Any = W, then: str = "Identity") -> ModelProto:
    return parse(
        f"""g (float[N,4] x) => (float[N,3] y) {{
            t = MatMul(x, w)
            y = {then}(t)
        }}""",
        w=np.asarray(weight, np.float32),
    )


def row(outcome: Verification, what: str) -> Check:
    return next(check for check in outcome.checks if check.what == what)


def test_a_model_equals_itself(compare: Compare) -> None:
    outcome = compare(linear(), linear(), Effect.IDENTICAL)
    assert (outcome.status, outcome.method, outcome.inputs) == ("ok", "onnxruntime", 3)
    assert row(outcome, "y").max_rel == 0


@pytest.mark.parametrize(
    ("factor", "effect", "status"),
    [
        (1 + 3e-6, Effect.ROUNDING, "ok"),
        (1 + 3e-6, Effect.IDENTICAL, "failed"),
        (1.01, Effect.ROUNDING, "failed"),
        (-1, Effect.ROUNDING, "failed"),
        (math.nan, Effect.ROUNDING, "failed"),
    ],
)
def test_changed_weight(compare: Compare, factor: float, effect: Effect, status: str) -> None:
    outcome = compare(linear(), linear(W * np.float32(factor)), effect)
    assert outcome.status == row(outcome, "y").status == status


def test_structure_gates_before_anything_runs(compare: Compare) -> None:
    other = linear()
    other.graph.node[0].input[1] = "nowhere"
    outcome = compare(linear(), other)
    assert (outcome.status, outcome.method) == ("failed", "none")
    assert {check.what for check in outcome.failures()} >= {"checker"}


def test_candidate_that_does_not_run(compare: Compare) -> None:
    text = "g (float[N,M] x) => (float[N,K] y) { y = MatMul(x, w) }"
    good, bad = parse(text, w=W), parse(text, w=np.ones((5, 3), np.float32))
    outcome = compare(good, bad, data=[{"x": np.ones((2, 4), np.float32)}])
    assert outcome.status == "failed"
    assert row(outcome, "runs").status == "failed"
    assert "\n" not in row(outcome, "runs").detail


def test_original_that_cannot_run_is_not_verified_and_says_why(compare: Compare) -> None:
    # 7 columns never come out of generated sizes.
    model = parse("g (float[N,M] x) => (float[N,3] y) { y = MatMul(x, w) }", w=W[:3].repeat(7, 0))
    outcome = compare(model, model)
    assert (outcome.status, outcome.method) == ("not verified", "none")
    assert outcome.note.startswith("the original does not run on generated inputs: ")
    assert "MatMul" in outcome.note


def test_reason_names_no_temporary_file(compare: Compare) -> None:
    model = parse("g (float[N] x) => (float[N] y) { y = com.acme.Op(x) }")
    note = compare(model, model).note
    assert "com.acme" in note
    assert "graphopt-verify" not in note


def test_stated_shape_mends_it(compare: Compare) -> None:
    model = parse("g (float[N,M] x) => (float[N,3] y) { y = MatMul(x, w) }", w=W[:3].repeat(7, 0))
    assert compare(model, model, shapes={"x": (2, 21)}).status == "ok"


def test_data_mends_it(compare: Compare) -> None:
    model = parse("g (float[N,M] x) => (float[N,3] y) { y = MatMul(x, w) }", w=W[:3].repeat(7, 0))
    data = [{"x": np.full((2, 21), value, np.float32)} for value in (1, 2)]
    outcome = compare(model, model, data=data)
    assert (outcome.status, outcome.generated, outcome.inputs) == ("ok", False, 2)


def test_data_that_does_not_run_is_an_error(verifier: MakeVerifier) -> None:
    with pytest.raises(DataError, match="does not run on the data given"):
        verifier(linear(), data=[{"x": np.ones((2, 9), np.float32)}]).check(
            Model(linear()), Effect.ROUNDING
        )


def saturated(weight: Any, then: str = "Sigmoid") -> ModelProto:
    """A model whose output is 1.0 whatever goes in."""
    return parse(
        f"""g (float[N,4] x) => (float[N,3] y) {{
            a = MatMul(x, w)
            b = Add(a, c)
            y = {then}(b)
        }}""",
        w=weight,
        c=np.array(1000, np.float32),
    )


def test_saturated_output_is_settled_inside(compare: Compare) -> None:
    nudged = W * np.float32(1 + 1e-6)
    outcome = compare(saturated(W), saturated(nudged))
    assert outcome.status == "ok"
    assert row(outcome, "y").detail == f"{CONSTANT}; 2 tensors inside agree"


def test_unchanged_model_is_ok_whatever_its_outputs_are(compare: Compare) -> None:
    assert compare(saturated(W), saturated(W)).status == "ok"


def test_difference_behind_a_saturated_output_is_found_inside(compare: Compare) -> None:
    outcome = compare(saturated(W), saturated(-W))
    assert outcome.status == "failed"
    assert row(outcome, "y").status == "failed"
    assert "inside" in row(outcome, "y").detail


def test_survivors_above_the_change_settle_nothing(compare: Compare) -> None:
    # Only `a` survives, and the wrong weight lies below it.
    text = """g (float[N,4] x) => (float[N,3] y) {{
        a = Relu(x)
        {0} = MatMul(a, w)
        {1} = Add({0}, c)
        y = Sigmoid({1})
    }}"""
    thousand = np.array(1000, np.float32)
    original = parse(text.format("p", "q"), w=W, c=thousand)
    wrong = parse(text.format("r", "s"), w=-W, c=thousand)
    assert compare(original, wrong).status != "ok"


def test_saturated_output_without_survivors_is_not_verified(compare: Compare) -> None:
    text = "g (float[N] x) => (float[N] y) {{ y = Mul({}) }}"
    zero = np.zeros(1, np.float32)
    models = [parse(text.format(inputs), zero=zero) for inputs in ("x, zero", "zero, x")]
    outcome = compare(*models)
    assert outcome.status == "not verified"
    assert row(outcome, "y").detail == CONSTANT


def test_constant_change_of_a_constant_output_is_found(compare: Compare) -> None:
    text = "g (float[N] x) => (float[N] y) { z = Mul(x, zero)\n y = Add(z, c) }"
    zero = np.zeros(1, np.float32)
    models = [parse(text, zero=zero, c=np.full(1, value, np.float32)) for value in (1, 2)]
    assert compare(*models).status == "failed"


def test_model_without_inputs(compare: Compare) -> None:
    text = "g () => (float[2] y) { y = Relu(c) }"
    models = [parse(text, c=np.array(c, np.float32)) for c in ([1, 2], [1, 3])]
    same = compare(models[0], models[0])
    assert (same.status, same.inputs) == ("ok", 1)
    assert compare(*models).status == "failed"


def test_random_output_is_not_verified(compare: Compare) -> None:
    text = """g (float[N] x) => (float[N] y, float[N] z) {
        r = RandomNormalLike(x)
        y = Add(x, r)
        z = Relu(x)
    }"""
    outcome = compare(parse(text), parse(text))
    assert outcome.status == "not verified"
    assert row(outcome, "y").detail == "differs from run to run in the original"
    assert row(outcome, "z").status == "ok"


def test_lossy_result_gives_two_losses(compare: Compare) -> None:
    rounded = np.round(W * 8) / 8
    outcome = compare(linear(), linear(rounded), Effect.LOSSY)
    assert outcome.status == "ok"
    assert [loss.level for loss in outcome.losses] == ["off", "all"]
    for loss in outcome.losses:
        assert 10 < loss.snr_db < 60
        assert 0 < loss.max_rel < 1


def test_loss_on_a_provider_that_is_not_there_is_not_made_up(compare: Compare) -> None:
    try:
        outcome = compare(linear(), linear(np.round(W * 8) / 8), Effect.LOSSY, provider="cuda")
    except ProviderUnavailable as error:
        assert error.exit_code == 4
    else:
        assert Path("/proc/driver/nvidia/version").exists()
        assert len(outcome.losses) == 2


def test_lossy_result_must_still_be_finite(compare: Compare) -> None:
    outcome = compare(linear(), linear(W * np.float32(np.inf)), Effect.LOSSY)
    assert outcome.status == "failed"
    assert not outcome.losses


def test_lossy_result_must_keep_its_signature(compare: Compare) -> None:
    wide = parse("g (float[N,4] x) => (float[N,2] y) { y = MatMul(x, w) }", w=W[:, :2])
    assert compare(linear(), wide, Effect.LOSSY).status == "failed"


def test_weights_above_the_limit_are_not_run(compare: Compare) -> None:
    outcome = compare(linear(), linear(-W), limit=W.nbytes - 1)
    assert (outcome.status, outcome.method) == ("not verified", "layer-wise")
    assert "exceed the verification limit" in outcome.note
    assert compare(linear(), linear(-W), limit=W.nbytes).status == "failed"


def test_what_onnxruntime_cannot_load_runs_by_reference(compare: Compare) -> None:
    # ONNX Runtime has no kernel for Det on double.
    text = "g (double[N,3,3] x) => (double[N] y) { y = Det(x) }"
    outcome = compare(parse(text), parse(text))
    assert (outcome.status, outcome.method) == ("ok", "reference")


def test_temporary_files_are_removed(
    verifier: MakeVerifier, tmp_path: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one = verifier(linear())
    one.check(Model(linear()), Effect.ROUNDING)
    assert list(tmp_path.iterdir())
    one.close()
    assert not list(tmp_path.iterdir())

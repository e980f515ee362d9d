"""Models above the limit: only what changed is run, and a wrong change is still found."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

from graphopt.contract import Effect
from graphopt.engine import OptimizeOptions, load_recipe, optimize_model
from graphopt.graph import annotate, build_program, graph_view
from graphopt.model import load_model
from graphopt.report import Verification
from graphopt.runtime import shared_runtime
from graphopt.verify import Verifier, VerifyOptions
from tests.build import parse

WIDTH = 64
BYTES = WIDTH * WIDTH * 4
LAYERS = 6


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    names = [f"w{number}" for number in range(LAYERS)]
    return {name: rng.standard_normal((WIDTH, WIDTH)).astype(np.float32) / 8 for name in names}


def chain(changed: dict[str, np.ndarray] | None = None, *, identity: bool = False) -> ModelProto:
    """LAYERS times MatMul and Relu; with an Identity in the middle if asked for."""
    lines, value = [], "x"
    for number in range(LAYERS):
        if identity and number == 3:
            lines.append(f"same = Identity({value})")
            value = "same"
        lines += [f"m{number} = MatMul({value}, w{number})", f"r{number} = Relu(m{number})"]
        value = f"r{number}"
    body = "\n".join(lines).replace(f"r{LAYERS - 1} =", "y =")
    text = f"g (float[N, {WIDTH}] x) => (float[N, {WIDTH}] y) {{ {body} }}"
    return parse(text, **{**weights(), **(changed or {})})


def compare(before: ModelProto, after: ModelProto, limit: int) -> Verification:
    original = load_model(before)
    program = build_program(original)
    annotate(program, before)
    view = graph_view(program.main, program)
    with Verifier(original, view, shared_runtime(), VerifyOptions(limit=limit)) as verifier:
        return verifier.check(load_model(after), Effect.ROUNDING)


def layers(outcome: Verification) -> tuple[str, str]:
    return next((row.status, row.detail) for row in outcome.checks if row.what == "layers")


LIMIT = BYTES
"""Less than the model's weights, enough for one layer."""


def test_what_changed_agrees() -> None:
    outcome = compare(chain(identity=True), chain(), LIMIT)
    assert outcome.status == "ok" and outcome.method == "layer-wise"
    assert layers(outcome) == ("ok", "1 of 1 changed regions agree")


@pytest.mark.parametrize("place", [0, 3, LAYERS - 1])
def test_one_wrong_weight_is_found(place: int) -> None:
    wrong = weights()[f"w{place}"].copy()
    wrong[5, 7] += 0.5
    outcome = compare(chain(), chain({f"w{place}": wrong}), LIMIT)
    assert outcome.status == "failed"
    assert [row.what for row in outcome.failures()] == [f"m{place}"]


def test_a_region_above_the_limit_is_not_verified() -> None:
    wrong = weights()["w0"] * 2
    outcome = compare(chain(), chain({"w0": wrong}), BYTES - 1)
    assert outcome.status == "not verified"
    assert "exceed the verification limit" in layers(outcome)[1]


def test_a_whole_run_above_the_limit() -> None:
    model = load_model(chain(identity=True))
    options = OptimizeOptions(verify_limit=LIMIT)
    report = optimize_model(model, load_recipe("exact"), options).report
    assert report.status == "verified" and report.changed
    assert report.stages[-1].verification.method == "layer-wise"
    assert report.rewrites()["eliminate_identity"] == 1


def test_a_region_grows_until_the_original_has_its_counterpart() -> None:
    # The candidate reads the first of two equal values, the original the second.
    head = f"g (float[N, {WIDTH}] x) => (float[N, {WIDTH}] y, float[N, {WIDTH}] z) {{"
    stored = {name: weights()[name] for name in ("w0", "w1", "w2")}
    before = parse(head + "a = Exp(x) b = Exp(x) y = MatMul(a, w0) z = MatMul(b, w1) }", **stored)
    after = parse(head + "a = Exp(x) y = MatMul(a, w0) z = MatMul(a, w1) }", **stored)
    assert layers(compare(before, after, BYTES)) == ("ok", "1 of 1 changed regions agree")
    wrong = parse(head + "a = Exp(x) y = MatMul(a, w0) z = MatMul(x, w1) }", **stored)
    assert compare(before, wrong, BYTES).status == "failed"

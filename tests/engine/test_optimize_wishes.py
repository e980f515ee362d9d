"""What a user can ask for beside the recipe: outputs to keep, conditions, provenance."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import graphopt
from graphopt.contract import Effect
from graphopt.engine import OptimizeOptions, OptimizeResult, PassSpec, Recipe, Stage, optimize_model
from graphopt.errors import UsageError
from graphopt.model import load_model
from models.fetch import fetch
from tests.build import parse
from tests.engine.samples import OneAtATime, RoughenConstants, chain

TWO = """g (float[N,4] x) => (float[N,3] y, float[N,4] z, float[N,4] t) {
    t = Identity(x)
    u = MatMul(t, w)
    y = Relu(u)
    a = Mul(t, v)
    z = Softmax(a)
}"""
W = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
V = np.array([0.5, 2, 3, 0.25], np.float32)


def two() -> onnx.ModelProto:
    return parse(TWO, w=W, v=V)


def outputs(result: OptimizeResult) -> list[str]:
    return [info.name for info in result.model.proto.graph.output]


@pytest.mark.parametrize(
    ("kept", "dropped", "ops", "weights"),
    [
        (["y"], ("z", "t"), {"MatMul": 1, "Relu": 1}, ["w"]),
        (["z"], ("y", "t"), {"Mul": 1, "Softmax": 1}, ["v"]),
        (["t", "y"], ("z",), {"Identity": 1, "MatMul": 1, "Relu": 1}, ["w"]),
    ],
)
def test_what_fed_dropped_outputs_alone_goes_away(
    kept: list[str], dropped: tuple[str, ...], ops: dict[str, int], weights: list[str]
) -> None:
    result = graphopt.optimize(two(), keep_outputs=kept)
    report = result.report
    assert (report.status, report.changed) == ("verified", True)
    assert report.dropped_outputs == dropped
    assert sorted(outputs(result)) == sorted(kept)
    assert report.before.nodes == 5
    assert report.after.ops == ops
    assert [tensor.name for tensor in result.model.proto.graph.initializer] == weights
    rows = [row.what for row in report.stages[-1].verification.checks]
    assert rows == ["signature", "checker", "inference", *outputs(result)]


def test_the_answers_of_what_is_kept_are_the_originals() -> None:
    result = graphopt.optimize(two(), keep_outputs=["z"], verify=False)
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)}
    (whole,) = list(ReferenceEvaluator(two()).run(["z"], feeds))
    (kept,) = list(ReferenceEvaluator(result.model.proto).run(None, feeds))
    np.testing.assert_allclose(kept, whole, rtol=1e-6)


def test_all_outputs_kept_is_nothing_dropped() -> None:
    result = graphopt.optimize(two(), keep_outputs=["t", "y", "z"])
    assert result.report.dropped_outputs == ()
    assert outputs(result) == ["y", "z", "t"]


def test_dropping_is_a_change_of_its_own() -> None:
    model = parse("g (float[N] x) => (float[N] y, float[N] z) { y = Relu(x)\n z = Abs(x) }")
    result = graphopt.optimize(model, passes=["eliminate_identity"], keep_outputs=["z"])
    assert (result.report.status, result.report.changed) == ("verified", True)
    assert [node.op_type for node in result.model.proto.graph.node] == ["Relu", "Abs"]


def test_a_real_model_keeps_one_output() -> None:
    path = fetch("silero_vad")
    first = onnx.load(path, load_external_data=False).graph.output[0].name
    whole = graphopt.optimize(path).report
    part = graphopt.optimize(path, keep_outputs=[first]).report
    assert part.status == "verified"
    assert part.after.nodes <= whole.after.nodes
    assert part.dropped_outputs


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("keep_outputs", ["u"], "is not an output"),
        ("keep_outputs", [], "no output is kept"),
        ("keep_outputs", "y", "keep_outputs is a text"),
        ("exclude_nodes", ["w"], "no node fits 'w'"),
        ("exclude_nodes", "y", "exclude_nodes is a text"),
        ("require", "nodes_ratio <= 1", "require is a text"),
        ("require", ["nodes_ratio"], "is not METRIC OP NUMBER"),
        ("require", ["p99_ms <= 1"], "does not measure p99_ms"),
    ],
)
def test_mistakes(option: str, value: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        graphopt.optimize(two(), **{option: value})


def test_requirements_are_held_in_the_report() -> None:
    model = parse(TWO.replace(", float[N,4] t)", ")"), w=W, v=V)
    require = ["nodes_ratio <= 0.9", "nodes_ratio < 0.8", "snr_db >= 40"]
    report = graphopt.optimize(model, require=require).report
    assert [item.text for item in report.requirements] == require
    assert [item.met for item in report.requirements] == [True, False, True]
    assert report.requirements[0].value == 4 / 5
    assert report.requirements[2].value == math.inf
    assert [item.metric for item in report.unmet] == ["nodes_ratio"]
    off = graphopt.optimize(model, require=require, verify=False).report
    assert [item.met for item in off.requirements] == [True, False, None]


@pytest.mark.parametrize("nodes", ["t = Identity(x)\n y = Relu(t)", "y = Relu(x)"])
def test_provenance_of_changed_and_unchanged_models(nodes: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(parse(f"g (float[N,4] x) => (float[N,4] y) {{ {nodes} }}"), path)
    plain = graphopt.optimize(path)
    signed = graphopt.optimize(path, provenance=True)
    report = signed.report
    assert report.changed == plain.report.changed == ("Identity" in nodes)
    written = {entry.key: entry.value for entry in signed.model.proto.metadata_props}
    assert written["graphopt.recipe_digest"] == report.recipe_digest
    assert written["graphopt.source_sha256"] == report.source_sha256
    assert report.after.file_bytes == signed.model.file_bytes == len(signed.model.to_bytes())
    assert signed.model.proto.graph == plain.model.proto.graph
    again = graphopt.optimize(path, provenance=True)
    assert again.model.to_bytes() == signed.model.to_bytes()


def lossy(*stages: Stage, admits: Effect = Effect.LOSSY) -> graphopt.Report:
    model = load_model(parse(chain(3), w=np.array(1.01, np.float32)))
    return optimize_model(model, Recipe("test", stages, admits), OptimizeOptions()).report


ROUGHEN = PassSpec.of(RoughenConstants(at=("t1",), wrong=1.1))


def test_a_lossy_pass_that_changed_something_gets_no_warning() -> None:
    report = lossy(Stage((ROUGHEN,)))
    assert (report.warnings, report.idle) == ((), [])
    assert report.stages[0].passes[0].effect == "lossy"


def test_a_lossy_pass_that_changed_nothing_says_why() -> None:
    report = lossy(Stage((ROUGHEN,)), admits=Effect.ROUNDING)
    assert [item.name for item in report.idle] == ["roughen_constants"]
    why = "3 x the recipe does not admit lossy rewrites"
    assert report.warnings == (f"roughen_constants changed nothing: {why}",)


def test_a_lossy_pass_that_finds_nothing_says_so() -> None:
    model = load_model(parse("g (float[N] x) => (float[N] y) { y = Relu(x) }"))
    report = optimize_model(model, Recipe("test", (Stage((ROUGHEN,)),))).report
    assert report.warnings == (
        "roughen_constants changed nothing: nothing it looks for is there",
    )  # fmt: skip


def test_an_exact_pass_may_change_nothing() -> None:
    assert lossy(Stage((PassSpec.of(OneAtATime()),))).warnings == ()


def test_a_lossy_pass_whose_rewrites_failed_changed_nothing() -> None:
    broken = RoughenConstants(at=("t0", "t1", "t2"), wrong=math.nan)
    report = lossy(Stage((PassSpec.of(broken),)))
    assert len(report.left_out) == 3
    assert report.warnings[-1].endswith("changed nothing: 3 x left out: it failed a check")

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.contract import Editor, Effect, NodeView
from graphopt.engine import OptimizeOptions, OptimizeResult, PassSpec, Recipe, Stage, optimize_model
from graphopt.engine.pipeline import MAX_LEFT_OUT
from graphopt.model import Model
from tests.build import parse
from tests.engine.samples import (
    Found,
    LocalPass,
    OneAtATime,
    ScaleConstants,
    bypass,
    chain,
    output_name,
)

W = np.array(1.01, np.float32)
IDENTITIES = """g (float[N] x) => (float[N] y) {
    a = Identity(x)
    b = Identity(a)
    c = Identity(b)
    y = Relu(c)
}"""


def run(
    text: str, *passes: Any, repeat: int = 8, verify: bool = True, **initializers: Any
) -> OptimizeResult:
    stages = (Stage(tuple(PassSpec.of(item) for item in passes), repeat),)
    options = OptimizeOptions(verify=verify)
    return optimize_model(Model(parse(text, **initializers)), Recipe("test", stages), options)


def factors(result: OptimizeResult) -> list[float]:
    """The second operand of each Mul, in order."""
    graph = result.model.proto.graph
    values = {t.name: float(np.frombuffer(t.raw_data, np.float32)[0]) for t in graph.initializer}
    return [values[node.input[1]] for node in graph.node if node.op_type == "Mul"]


def test_fixed_point_is_a_whole_round_without_an_edit() -> None:
    report = run(IDENTITIES, OneAtATime()).report
    (stage,) = report.stages
    assert (stage.rounds, stage.fixed_point) == (4, True)
    assert report.rewrites() == {"one_at_a_time": 3}
    assert not report.warnings


def test_round_limit_is_reported() -> None:
    report = run(IDENTITIES, OneAtATime(), repeat=2).report
    (stage,) = report.stages
    assert (stage.rounds, stage.fixed_point) == (2, False)
    assert report.rewrites() == {"one_at_a_time": 2}
    assert report.warnings == ("stage 1 stopped after 2 rounds, not at a fixed point",)


def test_repeat_once_over_nothing_to_do_is_a_fixed_point() -> None:
    report = run("g (float[N] x) => (float[N] y) { y = Relu(x) }", OneAtATime(), repeat=1).report
    assert report.stages[0].fixed_point


@pytest.mark.parametrize("bad", [0, 1, 17, 38, 39])
def test_bisection_finds_the_one_bad_rewrite(bad: int) -> None:
    result = run(chain(40), ScaleConstants(at=(f"t{bad}",)), w=W)
    report = result.report
    (left_out,) = report.left_out
    assert (left_out.pass_name, left_out.root, left_out.ordinal) == (
        "scale_constants", f"t{bad}", 0,
    )  # fmt: skip
    assert left_out.label == f"Mul -> t{bad}"
    assert left_out.reason.startswith("t39: differs by 0.98")
    assert report.status == "verified"
    assert report.rewrites() == {"scale_constants": 39}
    assert factors(result) == pytest.approx([1.01] * 40)
    assert any(f"left out: scale_constants at Mul -> t{bad}" in line for line in report.warnings)


def test_bisection_finds_two_bad_rewrites() -> None:
    result = run(chain(40), ScaleConstants(at=("t5", "t31")), w=W)
    assert {item.root for item in result.report.left_out} == {"t5", "t31"}
    assert result.report.rewrites() == {"scale_constants": 38}
    assert result.report.status == "verified"


def test_what_was_left_out_stays_out_in_later_rounds() -> None:
    text = """g (float[N] x) => (float[N] y) {
        a = Identity(x)
        b = Identity(a)
        t = Mul(b, w)
        y = Relu(t)
    }"""
    report = run(text, ScaleConstants(at=("t",)), OneAtATime(), w=W).report
    assert [item.root for item in report.left_out] == ["t"]
    assert report.rewrites() == {"scale_constants": 0, "one_at_a_time": 2}
    assert report.status == "verified"


@settings(max_examples=12, deadline=None)
@given(st.sets(st.integers(0, 23), max_size=3))
def test_bisection_leaves_out_exactly_the_bad_ones(bad: set[int]) -> None:
    roots = tuple(f"t{i}" for i in sorted(bad))
    report = run(chain(24), ScaleConstants(at=roots), w=W).report
    assert sorted(item.root for item in report.left_out) == sorted(roots)
    assert report.rewrites() == {"scale_constants": 24 - len(bad)}
    assert report.status == "verified"


def test_rewrite_that_crashes_the_runtime_is_left_out() -> None:
    # Integer division by zero kills the process, where the processor traps it.
    text = "g (int64[N] x) => (int64[N] y) { t = Div(x, w)\n y = Neg(t) }"

    def divide_by_zero(node: NodeView, edit: Editor) -> None:
        edit.set_input(node, 1, edit.constant(np.array(0), "zero", node.graph))

    crashing = LocalPass(
        divide_by_zero,
        "Div",
        wanted=lambda node: node.inputs[1] is not None and node.inputs[1].name == "w",
    )
    report = run(text, crashing, w=np.array(3)).report
    (left_out,) = report.left_out
    assert left_out.root == "t"
    assert left_out.reason
    assert (report.status, report.changed) == ("verified", False)


def test_equal_names_in_other_graphs_are_other_roots() -> None:
    # A function may call its values as the main graph does.
    text = """<ir_version: 9, opset_import: ["": 17, "f": 1]>
    g (float[N] x) => (float[N] y) {
        b = Mul(x, w)
        y = f.scale(b, w)
    }
    <domain: "f", opset_import: ["": 17]>
    scale (a, w) => (b) { b = Mul(a, w) }"""

    def spoil_main_alone(node: NodeView, edit: Editor) -> None:
        factor = 2.0 if node.graph.kind == "main" else 1.0
        one = edit.constant(np.array(factor, np.float32), "one", node.graph)
        new = edit.insert("Mul", [node.inputs[0], one], before=node)
        edit.set_input(node, 0, new.outputs[0])

    def is_fresh(node: NodeView) -> bool:
        source = node.inputs[0]
        return output_name(node) == "b" and source is not None and source.producer is None

    report = run(text, LocalPass(spoil_main_alone, "Mul", wanted=is_fresh), w=W).report
    assert len(report.left_out) == 1
    assert report.rewrites() == {"test_local": 1}
    assert report.status == "verified"


def test_too_many_bad_rewrites_take_the_stage_back_and_the_report_says_so() -> None:
    count = MAX_LEFT_OUT + 4
    bad = tuple(f"t{i}" for i in range(count))
    result = run(chain(40), ScaleConstants(at=bad), w=W)
    assert not result.report.changed
    assert result.report.status == "verified"
    assert result.report.rewrites() == {"scale_constants": 0}
    assert any("taken back" in line for line in result.report.warnings)


def test_bad_rewrite_in_one_stage_leaves_the_other_alone() -> None:
    stages = (
        Stage((PassSpec.of(OneAtATime()),)),
        Stage((PassSpec.of(ScaleConstants(at=("t",))),)),
    )
    text = """g (float[N] x) => (float[N] y) {
        a = Identity(x)
        t = Mul(a, w)
        y = Relu(t)
    }"""
    report = optimize_model(Model(parse(text, w=W)), Recipe("test", stages)).report
    assert not report.stages[0].left_out
    assert [item.root for item in report.stages[1].left_out] == ["t"]
    assert report.rewrites() == {"one_at_a_time": 1, "scale_constants": 0}


def test_structure_failures_and_wrong_numbers_are_both_left_out() -> None:
    text = """g (float[N] x) => (float[N] y) {
        a = Relu(x)
        t = Mul(a, w)
        y = Neg(t)
    }"""
    lose = LocalPass(lambda node, edit: edit.remove(node))
    report = run(text, lose, ScaleConstants(at=("t",)), w=W).report
    assert {(item.pass_name, item.root) for item in report.left_out} == {
        ("test_local", "a"), ("scale_constants", "t"),
    }  # fmt: skip
    assert not report.changed


def test_without_verification_nothing_is_compared_and_the_report_says_so() -> None:
    result = run(chain(3), ScaleConstants(at=("t1",)), verify=False, w=W)
    assert result.report.status == "unverified"
    assert result.report.stages[0].verification.note == "verification was switched off; it loads"
    assert result.report.rewrites() == {"scale_constants": 3}
    assert factors(result) == pytest.approx([1.01, 2.0, 1.01])


def test_rounding_is_a_failure_where_the_recipe_promises_equal_bits() -> None:
    nudged = ScaleConstants(at=("t0",), wrong=float(np.nextafter(W, np.float32(2))))
    # It states an effect that it does not have; its numbers give it away.
    lying = LocalPass(
        lambda node, edit: nudged.rewrite(Found(node, Effect.IDENTICAL), edit),
        "Mul",
        wanted=lambda node: node.inputs[1] is not None and node.inputs[1].name == "w",
    )
    stages = (Stage((PassSpec.of(lying),)),)
    model = Model(parse(chain(1), w=W))
    assert not optimize_model(model, Recipe("r", stages, Effect.ROUNDING)).report.left_out
    report = optimize_model(model, Recipe("r", stages, Effect.IDENTICAL)).report
    assert [item.root for item in report.left_out] == ["t0"]


def test_refusals_are_those_of_the_last_round() -> None:
    text = "g (float[N] x) => (float[N] y) { a = Relu(x)\n b = Relu(a)\n y = Neg(b) }"
    report = run(text, LocalPass(bypass, wanted=lambda node: output_name(node) == "a")).report
    assert report.stages[0].rounds == 2
    assert report.stages[0].passes[0].skipped == {"not wanted": 1}

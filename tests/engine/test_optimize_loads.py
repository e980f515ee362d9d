"""A result that nothing ran is loaded at least: what does not load is no result."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.contract import Editor, Effect, NodeView
from graphopt.engine import OptimizeOptions, OptimizeResult, PassSpec, Recipe, Stage, optimize_model
from graphopt.model import load_model
from graphopt.report import Check, Verification
from tests.build import parse
from tests.engine.samples import LocalPass

TEXT = "g (double[N] x) => (double[N] y) { t = Neg(x)\n y = Abs(t) }"
OFF = OptimizeOptions(verify=False)


class Exchange(LocalPass):
    """Puts another operator in the place of Abs, and calls it a loss."""

    effect = Effect.LOSSY

    def __init__(self, op_type: str) -> None:
        def exchange(node: NodeView, edit: Editor) -> None:
            source, target = node.inputs[0], node.outputs[0]
            assert target is not None
            new = edit.insert(op_type, [source], before=node)
            output = new.outputs[0]
            assert output is not None
            edit.replace(target, output)
            edit.remove(node)

        super().__init__(exchange, "Abs", states=Effect.LOSSY)


def run(
    op_type: str, text: str = TEXT, options: OptimizeOptions = OFF, **weights: np.ndarray
) -> OptimizeResult:  # fmt: skip
    recipe = Recipe("test", (Stage((PassSpec.of(Exchange(op_type)),)),))
    return optimize_model(load_model(parse(text, **weights)), recipe, options)


def outcome(result: OptimizeResult) -> tuple[Verification, Check]:
    verification = result.report.stages[-1].verification
    return verification, verification.checks[-1]


def test_a_result_that_loads_is_still_unverified() -> None:
    result = run("Floor")
    verification, row = outcome(result)
    assert result.report.status == "unverified"
    assert (row.what, row.status) == ("loads", "ok")
    assert verification.note == "verification was switched off; it loads"


def test_a_result_that_does_not_load_failed() -> None:
    result = run("Acos")
    verification, row = outcome(result)
    assert result.report.status == "failed"
    assert (row.what, row.status) == ("loads", "failed")
    assert verification.note == "verification was switched off; it does not load"
    assert verification.failures() == [row]


def test_an_original_that_does_not_load_excuses_it() -> None:
    result = run("Acos", TEXT.replace("Neg", "Asin"))
    assert result.report.status == "unverified"
    assert outcome(result)[1] == Check("loads", "not verified", "the original does not load either")


def test_an_original_that_does_not_run_excuses_nothing() -> None:
    """It loads: so must the result, verified or not."""
    text = """g (double[1,L] x) => (double[1,M,K] y) {
        t = Abs(x)
        y = Reshape(t, shape)
    }"""
    for op_type, status in (("Floor", "unverified"), ("Acos", "failed")):
        result = run(op_type, text, OptimizeOptions(), shape=np.array([1, -1, 10007]))
        assert result.report.status == status
        assert "does not run on generated inputs" in outcome(result)[0].note


@pytest.mark.parametrize("verify", [True, False])
def test_what_is_not_changed_needs_no_loading(verify: bool) -> None:
    result = run("Acos", TEXT.replace("Abs", "Neg"), OptimizeOptions(verify=verify))
    verification = result.report.stages[-1].verification
    assert not result.report.changed
    assert verification.checks == ()


def test_what_was_run_needs_no_loading() -> None:
    rows = outcome(run("Floor", options=OptimizeOptions()))[0].checks
    assert "loads" not in [row.what for row in rows]

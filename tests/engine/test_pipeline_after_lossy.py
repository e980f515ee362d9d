"""Stages behind a lossy one: the loss stays measured, and what an exact stage breaks is found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

import numpy as np
import pytest

from graphopt.contract import (
    Array,
    Context,
    Editor,
    Effect,
    GraphView,
    NodeView,
    Rewrite,
    ValueView,
)
from graphopt.engine import PassSpec, Recipe, Stage, optimize_model
from graphopt.model import Model, load_model
from graphopt.report import Check, Report, Verification
from graphopt.verify import Verifier
from tests.build import parse
from tests.engine.samples import LocalPass


class RoundFactors:
    """Rounds each initializer to one decimal place: a loss on purpose."""

    name: ClassVar[str] = "test_lossy"
    effect: ClassVar[Effect] = Effect.LOSSY

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite]:
        for value in graph.initializers:
            rounded = np.round(value.array(), 1).astype(np.float32)
            if value.readers and not np.array_equal(rounded, value.array()):
                yield Rewrite(value.label(), Effect.LOSSY, _rounding(value, rounded, graph))


def _rounding(value: ValueView, rounded: Array, graph: GraphView) -> Callable[[Editor], None]:
    return lambda edit: edit.replace(value, edit.constant(rounded, "rounded", graph))


def run(factor: float) -> Report:
    """Round the factors, then multiply by `factor` before Neg in a stage of its own."""
    text = """g (float[N, 3] x) => (float[N, 3] y) {
        a = Mul(x, u)
        b = Neg(a)
        y = Mul(b, u)
    }"""

    def scale(node: NodeView, edit: Editor) -> None:
        constant = edit.constant(np.array(factor, np.float32), "factor", node.graph)
        new = edit.insert("Mul", [node.inputs[0], constant], before=node)
        edit.set_input(node, 0, new.outputs[0])

    def is_fresh(node: NodeView) -> bool:
        source = node.inputs[0]
        return source is not None and source.name == "a"

    stages = (
        Stage((PassSpec.of(RoundFactors()),)),
        Stage((PassSpec.of(LocalPass(scale, "Neg", wanted=is_fresh)),)),
    )
    model = load_model(parse(text, u=np.array([0.314, 0.271, 0.161], np.float32)))
    return optimize_model(model, Recipe("two stages", stages)).report


def test_the_loss_of_the_first_stage_stays_measured() -> None:
    report = run(1.0)
    assert report.status == "verified"
    assert report.rewrites() == {"test_lossy": 1, "test_local": 1}
    first, second = (stage.verification for stage in report.stages)
    assert [loss.level for loss in first.losses] == ["off", "all"]
    assert second.losses == first.losses and 5 < first.losses[0].snr_db < 40
    assert {row.what for row in second.checks} >= {"signature", "y"}


@pytest.mark.parametrize("factor", [1.001, 2.0])
def test_what_an_exact_stage_breaks_is_no_loss(factor: float) -> None:
    report = run(factor)
    assert report.status == "verified"
    assert report.rewrites() == {"test_lossy": 1, "test_local": 0}
    (left,) = report.left_out
    assert (left.pass_name, left.root) == ("test_local", "b")
    first, second = (stage.verification for stage in report.stages)
    assert second.losses == first.losses


def test_a_result_that_fails_as_it_is_deployed_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exact stage is proven, and the whole no longer runs with optimisations on."""
    honest = Verifier.check
    lossy = 0

    def check(self: Verifier, candidate: Model, bound: Effect) -> Verification:
        nonlocal lossy
        lossy += bound is Effect.LOSSY
        if bound is Effect.LOSSY and lossy > 1:
            return Verification("failed", "onnxruntime", checks=(Check("runs", "failed", "no"),))
        return honest(self, candidate, bound)

    monkeypatch.setattr(Verifier, "check", check)
    report = run(1.0)
    assert lossy == 2
    assert report.status == "failed"
    assert report.stages[-1].verification.failures() == [Check("runs", "failed", "no")]

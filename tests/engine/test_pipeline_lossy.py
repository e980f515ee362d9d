from __future__ import annotations

import math

import numpy as np

from graphopt.contract import Effect
from graphopt.engine import OptimizeResult, PassSpec, Recipe, Stage, optimize_model
from graphopt.model import Model
from tests.build import parse
from tests.engine.samples import OneAtATime, RoughenConstants, chain

W = np.array(1.01, np.float32)


def run(*passes: RoughenConstants | OneAtATime, admits: Effect = Effect.LOSSY) -> OptimizeResult:
    stages = tuple(Stage((PassSpec.of(item),)) for item in passes)
    return optimize_model(Model(parse(chain(6), w=W)), Recipe("test", stages, admits))


def test_loss_is_measured_not_judged() -> None:
    report = run(RoughenConstants(at=("t3",), wrong=1.1)).report
    assert report.status == "verified"
    assert report.left_out == []
    losses = report.stages[0].verification.losses
    assert [loss.level for loss in losses] == ["off", "all"]
    expected = -20 * math.log10(1.1 / 1.01 - 1)
    assert all(abs(loss.snr_db - expected) < 0.1 for loss in losses)


def test_result_that_is_not_finite_is_left_out() -> None:
    report = run(RoughenConstants(at=("t3",), wrong=math.nan)).report
    assert [item.root for item in report.left_out] == ["t3"]
    assert "NaN" in report.left_out[0].reason
    assert report.rewrites() == {"roughen_constants": 5}


def test_recipe_that_admits_no_loss_keeps_lossy_rewrites_out() -> None:
    report = run(RoughenConstants(at=("t3",), wrong=1.1), admits=Effect.ROUNDING).report
    assert not report.changed
    assert report.stages[0].passes[0].skipped == {"the recipe does not admit lossy rewrites": 6}


def test_loss_so_far_is_reported_by_later_stages_too() -> None:
    report = run(RoughenConstants(at=("t3",), wrong=1.1), OneAtATime()).report
    first, second = (stage.verification for stage in report.stages)
    assert second.losses
    assert second.losses[0].snr_db == first.losses[0].snr_db


def test_stage_before_a_lossy_one_is_held_to_its_own_bound() -> None:
    report = run(OneAtATime(), RoughenConstants(at=("t3",), wrong=1.1)).report
    first, second = (stage.verification for stage in report.stages)
    assert not first.losses
    assert second.losses

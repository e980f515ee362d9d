from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.benching import tuning
from graphopt.benching.tuning import TuneOptions, tune_model
from graphopt.benching.tuning_arms import Duel
from graphopt.benching.tuning_candidates import Candidate
from graphopt.benching.tuning_halving import Unfit
from graphopt.contract import Array
from graphopt.errors import DataError, GraphoptError, ProviderUnavailable, UsageError
from graphopt.model import load_model
from graphopt.report.files import json_text
from graphopt.runtime.settings import Provider
from models.fetch import fetch
from tests.report.schema_file import TUNE


@pytest.mark.parametrize("objective", ["latency", "throughput", "memory"])
def test_real_run(objective: Any) -> None:
    model = load_model(fetch("lenet_5"))
    before = Path(str(model.path)).read_bytes()
    report = tune_model(model, TuneOptions(objective=objective, seconds=4.0, max_threads=2))
    assert report.ratio.low <= 1.0
    assert (report.best == report.default) == (report.best_name == "default")
    assert report.best != report.default or report.ratio.value == 1.0
    assert "default" in {candidate.name for candidate in report.candidates}
    assert report.shapes == {"image": [1, 1, 28, 28]}
    assert (report.default.spinning, report.default.threads) == (True, 0)
    TUNE.validator(closed=True).validate(json.loads(json_text(report.to_dict())))
    assert Path(str(model.path)).read_bytes() == before


class Scripted:
    """A referee that knows everyone's ratio beforehand."""

    least, random = 0.0, ("r",)
    ratios: dict[str, float] = {}  # noqa: RUF012
    final_ratio: float | None = 0.5
    pairs = 30

    def __init__(self, *_: object) -> None: ...
    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None: ...
    def begin(self) -> None: ...

    def measure(self, candidate: Candidate, seconds: float) -> Array:
        return np.log([self.ratios.get(candidate.name, 2.0)])

    def final(self, candidate: Candidate, seconds: float) -> list[Duel]:
        if self.final_ratio is None:
            raise Unfit("gives other outputs")
        noise = np.random.default_rng(0).uniform(0.99, 1.01, self.pairs)
        return [Duel(np.ones(self.pairs), self.final_ratio * noise) for _ in range(2)]


def scripted(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Any:
    kind = type("Kind", (Scripted,), {"ratios": {"no spinning": 0.5}, **changes})
    monkeypatch.setattr(tuning, "ProcessReferee", kind)
    return tune_model(load_model(fetch("lenet_5")), TuneOptions(max_threads=2))


def test_better_one_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    report = scripted(monkeypatch)
    assert report.best_name == "no spinning"
    assert not report.best.spinning
    assert report.ratio == report.final.ratio
    assert report.ratio.high < 1
    assert "allow_spinning" in report.snippet
    assert report.notes == ["not compared, as they are random: r"]


@pytest.mark.parametrize("final_ratio", [1.0, 1.5])
def test_one_that_only_seemed_better_is_not(
    monkeypatch: pytest.MonkeyPatch, final_ratio: float
) -> None:
    report = scripted(monkeypatch, final_ratio=final_ratio)
    assert (report.best_name, report.ratio.value) == ("default", 1.0)
    assert report.best == report.default
    assert report.final.name == "no spinning"
    assert report.final.ratio.high >= 1


def test_too_few_pairs_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    report = scripted(monkeypatch, pairs=14)
    assert report.final.ratio.high < 1
    assert report.best_name == "default"
    assert "too few pairs" in report.notes[0]


def test_finalist_with_other_outputs_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    report = scripted(monkeypatch, final_ratio=None)
    assert (report.best_name, report.final) == ("default", None)
    assert [(one.name, one.reason) for one in report.dropped] == [
        ("no spinning", "gives other outputs")
    ]
    assert "no spinning" not in {one.name for one in report.candidates}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"seconds": 0.0}, UsageError),
        ({"seconds": float("nan")}, UsageError),
        ({"batches": (1, 2)}, UsageError),
        ({"concurrencies": (2,)}, UsageError),
        ({"max_threads": 0}, UsageError),
        ({"provider": Provider("NoneSuch")}, UsageError),
        ({"data": []}, DataError),
    ],
)
def test_bad_options(changes: dict[str, Any], error: type[GraphoptError]) -> None:
    options = dataclasses.replace(TuneOptions(), **changes)
    with pytest.raises((error, ProviderUnavailable)):
        tune_model(load_model(fetch("lenet_5")), options)

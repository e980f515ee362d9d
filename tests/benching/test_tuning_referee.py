from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.benching.tuning_arms import Arm, Duel
from graphopt.benching.tuning_candidates import Candidate
from graphopt.benching.tuning_halving import Unfit
from graphopt.benching.tuning_referee import ProcessReferee, enough
from graphopt.errors import RuntimeFailure
from graphopt.runtime.settings import Provider, SessionSettings
from tests.benching.placing import place

RELU = "agraph (float[N] x) => (float[N] y) { y = Relu(x) }"
RANDOM = """agraph (float[N] x) => (float[N] y, float[2] r) {
    y = Relu(x)
    r = RandomNormal <shape=[2]> ()
}"""
X = np.array([-1, 2], np.float32)
DEFAULT = Candidate(SessionSettings(threads=1))
OTHER = dataclasses.replace(DEFAULT, binding=True)


def referee_of(path: Path) -> ProcessReferee:
    feeds = [{"x": X}]
    return ProcessReferee(path, DEFAULT, lambda batch: feeds, "latency", np.random.default_rng(0))


@pytest.fixture
def referee(tmp_path: Path) -> Iterator[ProcessReferee]:
    with referee_of(place(tmp_path, RELU)) as found:
        yield found


def test_measures_in_a_fresh_process(referee: ProcessReferee) -> None:
    assert referee.least > 0
    referee.begin()
    assert len(referee.measure(OTHER, 0.0)) == 1
    assert len(referee.measure(OTHER, 2.0)) > 1
    assert referee.random == []


def test_final_uses_several_pairs_of_processes(referee: ProcessReferee) -> None:
    found = referee.final(OTHER, 2.0)
    assert 1 <= len(found) <= 5
    assert all(len(duel.reference) == len(duel.candidate) >= 1 for duel in found)
    assert len(referee.final(OTHER, 0.0)) == 1


@pytest.mark.parametrize("what", ["measure", "final"])
def test_other_outputs_are_unfit(
    referee: ProcessReferee, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Arm.answers

    def answers(arm: Arm) -> dict[str, Any]:
        found = own(arm)
        shift = np.float32(0.01 if arm._candidate.binding else 0)
        return {name: value + shift for name, value in found.items()}

    monkeypatch.setattr(Arm, "answers", answers)
    with pytest.raises(Unfit, match="gives other outputs than the default: output 'y'"):
        getattr(referee, what)(OTHER, 0.1)


def test_candidate_without_its_provider_is_unfit(referee: ProcessReferee) -> None:
    settings = dataclasses.replace(DEFAULT.settings, provider=Provider("NoneSuch"))
    with pytest.raises(Unfit, match="cannot open a session here"):
        referee.measure(dataclasses.replace(DEFAULT, settings=settings), 0.1)


def test_default_that_does_not_load_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"no model")
    with referee_of(path) as found, pytest.raises(RuntimeFailure):
        found.begin()


def test_random_outputs_are_told(tmp_path: Path) -> None:
    with referee_of(place(tmp_path, RANDOM)) as found:
        found.measure(OTHER, 0.0)
        assert found.random == ["r"]


def test_enough_to_decide() -> None:
    def duels(*counts: int) -> list[Duel]:
        return [Duel(np.ones(count), np.ones(count)) for count in counts]

    assert enough(duels(15, 15))
    assert not enough(duels(14, 15))
    assert not enough(duels(100))

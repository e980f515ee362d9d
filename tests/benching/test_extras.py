from __future__ import annotations

import dataclasses

from graphopt.benching.comparison import bench_models
from graphopt.benching.options import BenchOptions
from graphopt.benching.profile import by_operator
from graphopt.model import load_model
from graphopt.report.bench import Arm
from models.fetch import fetch

QUICK = BenchOptions(threads=(1,), seconds=0.5, processes=2)


def arm(**asked: bool) -> Arm:
    options = dataclasses.replace(QUICK, **asked)  # type: ignore[arg-type]
    return bench_models([load_model(fetch("resnet_20"))], options).cases[0].arms[0]


def test_nothing_is_measured_unasked() -> None:
    found = arm()
    assert (found.startup, found.memory, found.profile, found.placement) == (None, None, [], None)


def test_what_is_asked_for_is_there() -> None:
    found = arm(cold=True, memory=True, profile=True)
    assert found.startup is not None
    assert found.startup.processes == 2
    assert found.memory is not None
    assert "Conv" in by_operator(found.profile)
    assert {node.provider for node in found.profile} == {"CPUExecutionProvider"}

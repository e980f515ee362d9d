from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphopt.benching import startup
from graphopt.benching.startup import measure_startup
from graphopt.errors import RuntimeFailure
from graphopt.runtime.settings import SessionSettings
from tests.benching.test_fresh import crash
from tests.build import Array

MODELS = Path(__file__).parents[2] / "models"
FEEDS: dict[str, Array] = {"image": np.zeros((1, 1, 28, 28), np.float32)}


@pytest.mark.parametrize("name", ["lenet_5", "resnet_20"])
def test_both_times_are_positive(name: str) -> None:
    found = measure_startup(MODELS / f"{name}.onnx", SessionSettings(), FEEDS, 2)
    assert found.processes == 2
    assert found.session_ms > 0
    assert found.first_run_ms > 0


def test_medians_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([[0.5, 0.25], [4.0, 0.125], [1.0, 8.0]])
    monkeypatch.setattr(startup, "ask_fresh", lambda *arguments: next(times))
    found = measure_startup(Path("model.onnx"), SessionSettings(), {}, 3)
    assert (found.processes, found.session_ms, found.first_run_ms) == (3, 1000.0, 250.0)


def test_crash_is_a_clean_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "start_once", crash)
    with pytest.raises(RuntimeFailure, match=r"lenet_5\.onnx") as caught:
        measure_startup(MODELS / "lenet_5.onnx", SessionSettings(), FEEDS)
    assert caught.value.kind == "crash"


def test_no_process_at_all() -> None:
    with pytest.raises(ValueError, match="processes is 0"):
        measure_startup(MODELS / "lenet_5.onnx", SessionSettings(), FEEDS, 0)

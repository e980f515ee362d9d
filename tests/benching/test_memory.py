from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graphopt.benching import memory
from graphopt.benching.fresh import Job, ask_fresh
from graphopt.benching.memory import arena_bytes, measure_memory, peak_bytes, watch_once
from graphopt.errors import RuntimeFailure
from graphopt.runtime.settings import CPU, SessionSettings
from tests.benching.test_fresh import crash
from tests.build import Array, parse

MODELS = Path(__file__).parents[2] / "models"
FEEDS: dict[str, Array] = {"image": np.zeros((1, 1, 28, 28), np.float32)}
MIB = 1 << 20

known = pytest.mark.skipif(peak_bytes() is None, reason="this system tells no peak")


def saved(folder: Path, text: str, **initializers: Array) -> Path:
    path = folder / "model.onnx"
    onnx.save(parse(text, **initializers), path)
    return path


def watch_after_much_else(job: Job) -> dict[str, int | None]:
    """What the process took before is no part of the model's."""
    other = np.ones(256 * MIB, np.uint8)
    del other
    return watch_once(job)


@known
@pytest.mark.parametrize("name", ["lenet_5", "resnet_20"])
def test_peaks_of_models(name: str) -> None:
    found = measure_memory(MODELS / f"{name}.onnx", SessionSettings(), FEEDS, 2)
    assert found.load_peak_bytes is not None
    assert found.run_peak_bytes is not None
    assert found.run_peak_bytes >= found.load_peak_bytes > 0
    assert found.arena_bytes is not None
    assert found.arena_bytes > 0
    assert found.device_peak_bytes is None


@known
def test_weights_count_when_loading(tmp_path: Path) -> None:
    text = "agraph (float[N,2048] x) => (float[N,2048] y) { y = MatMul(x, w) }"
    path = saved(tmp_path, text, w=np.ones((2048, 2048), np.float32))
    found = measure_memory(path, SessionSettings(), {"x": np.zeros((1, 2048), np.float32)}, 1)
    assert (found.load_peak_bytes or 0) >= 16 * MIB


GROWS = """agraph (float[1] x, int64[1] n) => (float y) {
  wide = Expand(x, n)
  y = ReduceMax<keepdims = 0>(wide)
}"""
"""Takes 4 bytes for each of n."""


@known
def test_activations_count_when_running(tmp_path: Path) -> None:
    path = saved(tmp_path, GROWS)
    size = 64 * MIB
    feeds: dict[str, Array] = {"x": np.ones(1, np.float32), "n": np.array([size // 4])}
    found = measure_memory(path, SessionSettings(), feeds, 1)
    assert found.load_peak_bytes is not None
    assert found.run_peak_bytes is not None
    assert found.run_peak_bytes >= found.load_peak_bytes + size // 2
    assert (found.arena_bytes or 0) >= size
    assert measure_memory(path, SessionSettings(arena=False), feeds, 1).arena_bytes is None


@known
def test_what_was_there_before_does_not_count() -> None:
    path = MODELS / "lenet_5.onnx"
    found = ask_fresh(watch_after_much_else, path, SessionSettings(), FEEDS, 1)
    assert found["run_peak_bytes"] < 256 * MIB


def test_crash_is_a_clean_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "watch_once", crash)
    with pytest.raises(RuntimeFailure, match=r"lenet_5\.onnx") as caught:
        measure_memory(MODELS / "lenet_5.onnx", SessionSettings(), FEEDS)
    assert caught.value.kind == "crash"


def held(ts: int, size: object, provider: str = CPU) -> dict[str, Any]:
    args = (
        {"provider": provider} if size is None else {"provider": provider, "mem_arena_held": size}
    )
    return {"cat": "Node", "name": "a_kernel_time", "ts": ts, "dur": 2, "args": args}


def test_arena_is_what_the_last_node_saw() -> None:
    other = "OtherExecutionProvider"
    session = {"cat": "Session", "name": "model_run", "ts": 90, "dur": 1, "args": {}}
    events = [held(20, "300"), held(10, "200"), session, held(30, "900", other)]
    assert arena_bytes(events, CPU) == 300
    assert arena_bytes(events, other) == 900
    assert arena_bytes(events, "ThirdExecutionProvider") is None
    assert arena_bytes([held(10, None)], CPU) is None
    assert arena_bytes([held(10, "0")], CPU) is None
    assert arena_bytes([], CPU) is None


def test_device_memory_is_the_highest_above_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter([1000, 5000, 7000, 6000])
    monkeypatch.setattr(memory, "memory_reader", lambda device_id: lambda: next(used))
    monkeypatch.setattr(memory, "_ON_NVIDIA", (CPU,))
    settings = replace(SessionSettings(), threads=1)
    job = Job(str(MODELS / "lenet_5.onnx"), settings, dict(FEEDS), Path("unused"), 2)
    monkeypatch.setattr(memory, "profiled", lambda job, runs: [])
    assert watch_once(job)["device_peak_bytes"] == 6000


@pytest.mark.parametrize("readings", [[None, None, None], [1000, None, 2000]])
def test_device_memory_that_is_not_told(
    monkeypatch: pytest.MonkeyPatch, readings: list[int | None]
) -> None:
    used = iter(readings)
    monkeypatch.setattr(memory, "memory_reader", lambda device_id: lambda: next(used))
    monkeypatch.setattr(memory, "_ON_NVIDIA", (CPU,))
    monkeypatch.setattr(memory, "profiled", lambda job, runs: [])
    job = Job(str(MODELS / "lenet_5.onnx"), SessionSettings(), dict(FEEDS), Path("unused"), 1)
    assert watch_once(job)["device_peak_bytes"] is None

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.benching import profile
from graphopt.benching.profile import (
    WARMUP,
    Event,
    by_operator,
    measure_profile,
    node_times,
    read_events,
)
from graphopt.errors import RuntimeFailure
from graphopt.report.bench import NodeTime
from graphopt.runtime.settings import CPU, SessionSettings
from tests.benching.test_fresh import crash
from tests.build import Array, few, parse

MODELS = Path(__file__).parents[2] / "models"
FEEDS: dict[str, Array] = {"image": np.zeros((1, 1, 28, 28), np.float32)}

BODIES = """agraph (float[N] x, int64 n, bool c) => (float[N] y, float[N] z) {
  yes = Constant<value = bool {1}>()
  y = Loop(n, yes, x) <body = b (int64 i, bool ci, float[N] v) => (bool co, float[N] w) {
    co = Identity(ci)
    w = Sin(v)
  }>
  z = If(c) <
    then_branch = t () => (float[N] a) { a = Cos(x) },
    else_branch = e () => (float[N] b) { b = Neg(x) }
  >
}"""


def kernel(
    name: str,
    ts: int,
    dur: int,
    op: str = "Relu",
    tid: int = 1,
    index: int = 0,
    provider: str = CPU,
) -> dict[str, Any]:
    args = {"op_name": op, "provider": provider, "node_index": str(index)}
    return {
        "cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "tid": tid, "args": args
    }  # fmt: skip


def run(ts: int, dur: int) -> dict[str, Any]:
    return {"cat": "Session", "name": "model_run", "ts": ts, "dur": dur, "tid": 1, "args": {}}


def summary(rows: list[NodeTime]) -> list[tuple[str, int, float]]:
    return [(row.name, row.calls, row.mean_us) for row in rows]


@pytest.mark.parametrize("name", ["lenet_5", "resnet_20"])
def test_profile_of_models(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found = measure_profile(MODELS / f"{name}.onnx", SessionSettings(), FEEDS, 3)
    assert len(found) > 5
    assert {row.provider for row in found} == {CPU}
    assert {row.calls for row in found} == {3}
    assert all(row.op_type and row.name for row in found)
    assert sum(row.share for row in found) == pytest.approx(1)
    assert [row.share for row in found] == sorted((row.share for row in found), reverse=True)
    assert "Conv" in by_operator(found)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_nodes_of_bodies_and_odd_names(tmp_path: Path) -> None:
    model = parse(BODIES)
    loop, branch = model.graph.node[1], model.graph.node[2]
    loop.name = 'a "quoted"\\name\nof two lines_kernel_time'
    branch.name = "_kernel_time_fence_before"
    loop.attribute[0].g.node[1].name = "ü\t\x01,"
    path = tmp_path / "bodies.onnx"
    onnx.save(model, path)
    feeds: dict[str, Array] = {
        "x": np.ones(1000, np.float32), "n": np.array(3), "c": np.array(True)
    }  # fmt: skip
    found = measure_profile(path, SessionSettings(level="off"), feeds, 2)
    calls = {row.name: (row.op_type, row.calls) for row in found}
    assert calls[loop.name] == ("Loop", 2)
    assert calls[branch.name] == ("If", 2)
    assert calls["ü\t\x01,"] == ("Sin", 6)
    assert set(by_operator(found)) == {"Loop", "If", "Sin", "Cos", "Identity"}
    assert sum(row.share for row in found) == pytest.approx(1)


def test_crash_is_a_clean_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(profile, "profile_once", crash)
    with pytest.raises(RuntimeFailure, match=r"lenet_5\.onnx") as caught:
        measure_profile(MODELS / "lenet_5.onnx", SessionSettings(), FEEDS, 1)
    assert caught.value.kind == "crash"
    assert list(tmp_path.iterdir()) == []


def test_warm_up_and_an_incomplete_last_run_are_left_out() -> None:
    events = [
        kernel("a", 10, 500), kernel("b", 510, 90, "Conv"), run(0, 610),
        kernel("a", 710, 10), kernel("b", 720, 30, "Conv"), run(700, 60),
        kernel("a", 810, 20), kernel("b", 830, 40, "Conv"), run(800, 80),
        kernel("a", 910, 70),
    ]  # fmt: skip
    rows = node_times(events, 1)
    assert summary(rows) == [("b", 2, 35.0), ("a", 2, 15.0)]
    assert [row.share for row in rows] == [0.7, 0.3]
    assert summary(node_times(events, 0)) == [("a", 3, pytest.approx(530 / 3)), ("b", 3, 160 / 3)]
    assert node_times(events, 3) == []
    assert node_times([], WARMUP) == []


def test_other_events_do_not_count() -> None:
    fence = {**kernel("a", 20, 30), "name": "a_fence_before"}
    device = {"cat": "Kernel", "name": "k_kernel_time", "ts": 20, "dur": 30, "tid": 1, "args": {}}
    events = [fence, device, kernel("a", 60, 10), run(0, 90)]
    assert summary(node_times(events, 0)) == [("a", 1, 10.0)]


def test_body_is_not_counted_twice() -> None:
    events = [
        kernel("inner", 20, 30, "Sin"), kernel("inner", 55, 25, "Sin"),
        kernel("if", 82, 10, "If"), kernel("deep", 83, 6),
        kernel("loop", 10, 90, "Loop"), kernel("next", 100, 10), run(0, 200),
    ]  # fmt: skip
    rows = node_times(events, 0)
    assert summary(rows) == [
        ("inner", 2, 27.5), ("loop", 1, 25.0), ("next", 1, 10.0), ("deep", 1, 6.0), ("if", 1, 4.0)
    ]  # fmt: skip
    assert sum(row.share for row in rows) == pytest.approx(1)


def test_threads_are_told_apart() -> None:
    events = [kernel("a", 10, 50, tid=1), kernel("b", 20, 30, tid=2, index=1), run(0, 100)]
    assert summary(node_times(events, 0)) == [("a", 1, 50.0), ("b", 1, 30.0)]


def test_one_name_for_two_nodes() -> None:
    events = [
        kernel("a", 10, 50, "If"), kernel("a", 20, 30, index=1), kernel("a", 70, 5, index=2),
        run(0, 100),
    ]  # fmt: skip
    assert [row.mean_us for row in node_times(events, 0)] == [30.0, 20.0, 5.0]


def test_times_that_the_clock_does_not_see() -> None:
    events = [kernel("a", 10, 0), kernel("b", 10, 0), run(10, 0)]
    assert [row.share for row in node_times(events, 0)] == [0.5, 0.5]


@few
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 20)), min_size=1, max_size=40))
def test_own_times_add_up_to_the_outermost(steps: list[tuple[int, int]]) -> None:
    """Each step ends so many open kernels, and opens one more after a while."""
    open_ones: list[tuple[int, int]] = []
    events: list[Event] = []
    now, outermost = 0, 0
    for number, (ends, pause) in enumerate([*steps, (len(steps), 1)]):
        for _ in range(min(ends, len(open_ones))):
            begun, name = open_ones.pop()
            now += 1
            events.append(kernel(str(name), begun, now - begun, index=name))
            outermost += 0 if open_ones else now - begun
        now += pause
        if number < len(steps):
            open_ones.append((now, number))
    rows = node_times([*events, run(0, now)], 0)
    assert len(rows) == len(steps)
    assert sum(row.mean_us for row in rows) == outermost
    assert all(row.mean_us > 0 for row in rows)


def test_many_events_from_a_file(tmp_path: Path) -> None:
    events = [run(0, 10)]
    for number in range(10):
        begin = 100_000 * (number + 1)
        events += [kernel(f"n{i}", begin + 10 * i, i % 7, index=i) for i in range(3000)]
        events.append(run(begin, 99_999))
    path = tmp_path / "profile.json"
    lines = [json.dumps({**e, "args": {**e["args"], "input_type_shape": []}}) for e in events]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    read = list(read_events(path))
    assert read == events
    rows = node_times(read, 1)
    assert len(rows) == 3000
    assert {row.calls for row in rows} == {10}
    assert sum(row.share for row in rows) == pytest.approx(1)


def test_shares_by_operator() -> None:
    rows = [
        NodeTime(str(i), op, CPU, 1, 1.0, share)
        for i, (op, share) in enumerate([("Conv", 0.25), ("Add", 0.375), ("Conv", 0.375)])
    ]
    assert list(by_operator(rows).items()) == [("Conv", 0.625), ("Add", 0.375)]
    assert by_operator([]) == {}

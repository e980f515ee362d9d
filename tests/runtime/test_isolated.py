from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.errors import RuntimeFailure
from graphopt.runtime import IsolatedRuntime, Session, isolated, shared_runtime
from tests.build import parse
from tests.runtime.conftest import SaveModel

RELU = "g (float[N] x) => (float[N] y, float[N] z) { y = Relu(x)\n z = Neg(x) }"
X = np.array([-1, 2], np.float32)
FEEDS = {"x": X}

NOISY = (
    "import json, os, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "import graphopt.runtime.worker as w; load = w._load\n"
    "def noisy(*args):\n"
    "    print('x' * 100000); sys.stderr.write('y'); os.write(1, b'raw'); os.write(2, b'raw')\n"
    "    os.read(0, 1)\n"
    "    return load(*args)\n"
    "w._load = noisy; w.main()"
)


def process_of(runtime: IsolatedRuntime) -> subprocess.Popen[bytes]:
    assert runtime._process is not None
    return runtime._process


@contextmanager
def frozen(runtime: IsolatedRuntime) -> Iterator[subprocess.Popen[bytes]]:
    """The process takes requests, but answers none."""
    process = process_of(runtime)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield process
    finally:
        process.kill()


def test_runs_a_model(shared: IsolatedRuntime, saved: SaveModel) -> None:
    opened = shared.open(Session(saved(RELU)))
    assert opened.outputs == ["y", "z"]
    assert opened.inputs[0]["name"] == "x"
    found = opened.run(FEEDS)
    assert found["y"].tolist() == [0, 2]
    assert found["z"].tolist() == [1, -2]
    assert list(opened.run(FEEDS, ["z"])) == ["z"]
    opened.close()


def test_a_start_ahead_is_the_process_that_answers(saved: SaveModel) -> None:
    runtime = IsolatedRuntime()
    try:
        runtime.start()
        early = process_of(runtime).pid
        runtime.start()
        runtime.open(Session(saved(RELU))).run(FEEDS)
        assert process_of(runtime).pid == early
        assert runtime.generation == 1
    finally:
        runtime.close()


def test_several_models_at_once(shared: IsolatedRuntime, tmp_path: Path) -> None:
    opened = []
    for name in ("Relu", "Neg"):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(
            parse(f"g (float[N] x) => (float[N] y) {{ y = {name}(x) }}").SerializeToString()
        )
        opened.append(shared.open(Session(path)))
    assert [model.run(FEEDS)["y"].tolist() for model in opened] == [[0, 2], [1, -2]]


def test_reference_backend(shared: IsolatedRuntime, saved: SaveModel) -> None:
    opened = shared.open(Session(saved(RELU), backend="reference"))
    assert opened.outputs == ["y", "z"]
    assert opened.run(FEEDS)["y"].tolist() == [0, 2]


def test_reference_gives_the_outputs_asked_for(shared: IsolatedRuntime, saved: SaveModel) -> None:
    opened = shared.open(Session(saved(RELU), backend="reference"))
    assert {name: value.tolist() for name, value in opened.run(FEEDS, ["z"]).items()} == {
        "z": [1, -2]
    }


def test_level_off_runs_the_graph_as_it_stands(shared: IsolatedRuntime, saved: SaveModel) -> None:
    # ONNX Runtime folds a zero Pad into MaxPool wrongly; an all-negative input shows it.
    path = saved(
        """g (float[1,1,4] x) => (float[1,1,O] y) {
            p = Pad(x, pads)
            y = MaxPool<kernel_shape = [3], strides = [1]>(p)
        }""",
        pads=np.array([0, 0, 1, 0, 0, 1]),
    )
    feeds = {"x": np.full((1, 1, 4), -5, np.float32)}
    assert shared.open(Session(path, level="off")).run(feeds)["y"].tolist() == [[[0, -5, -5, 0]]]


def test_sequence_and_string_values(shared: IsolatedRuntime, saved: SaveModel) -> None:
    text = """g (seq(float[N]) s, string[M] t) => (float[N] y, string[M] u) {
        zero = Constant<value_int = 0>()
        y = SequenceAt(s, zero)
        u = Identity(t)
    }"""
    feeds: dict[str, Any] = {"s": [X, X], "t": np.array(["a", "é"], object)}
    found = shared.open(Session(saved(text))).run(feeds)
    assert found["y"].tolist() == X.tolist()
    assert found["u"].tolist() == ["a", "é"]


def test_load_failure(shared: IsolatedRuntime, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(RuntimeFailure) as caught:
        shared.open(Session(tmp_path / "bad.onnx"))
    assert caught.value.kind == "load"


def test_run_failure(shared: IsolatedRuntime, saved: SaveModel) -> None:
    opened = shared.open(Session(saved(RELU)))
    for feeds in ({"x": X.reshape(1, 2)}, {"x": X.astype(np.int64)}, {}, {"other": X}):
        with pytest.raises(RuntimeFailure) as caught:
            opened.run(feeds)
        assert caught.value.kind == "run"
    assert opened.run(FEEDS)["y"].tolist() == [0, 2]


def test_closed_session_is_a_run_failure(shared: IsolatedRuntime, saved: SaveModel) -> None:
    opened = shared.open(Session(saved(RELU)))
    opened.close()
    with pytest.raises(RuntimeFailure) as caught:
        opened.run(FEEDS)
    assert caught.value.kind == "run"


def test_death_in_mid_run_is_a_crash_and_the_next_request_works(
    own: IsolatedRuntime, saved: SaveModel
) -> None:
    opened = own.open(Session(saved(RELU)))
    with frozen(own) as process:
        killer = threading.Timer(0.2, process.kill)
        killer.start()
        with pytest.raises(RuntimeFailure, match="SIGKILL") as caught:
            opened.run(FEEDS)
    assert caught.value.kind == "crash"
    again = own.open(Session(saved(RELU)))
    assert again.run(FEEDS)["y"].tolist() == [0, 2]
    assert process_of(own).pid != process.pid


def test_sessions_of_a_dead_process_say_so(own: IsolatedRuntime, saved: SaveModel) -> None:
    old = own.open(Session(saved(RELU)))
    process_of(own).kill()
    process_of(own).wait()
    new = own.open(Session(saved(RELU)))
    with pytest.raises(RuntimeFailure, match="its process died") as caught:
        old.run(FEEDS)
    assert caught.value.kind == "crash"
    old.close()  # nothing to free, and not the other one's
    assert new.run(FEEDS)["y"].tolist() == [0, 2]


def test_process_that_died_between_requests(own: IsolatedRuntime, saved: SaveModel) -> None:
    opened = own.open(Session(saved(RELU)))
    process_of(own).kill()
    process_of(own).wait()
    with pytest.raises(RuntimeFailure) as caught:
        opened.run(FEEDS)
    assert caught.value.kind == "crash"


def test_large_request_to_a_dying_process(own: IsolatedRuntime, saved: SaveModel) -> None:
    opened = own.open(Session(saved(RELU)))
    with frozen(own) as process:
        threading.Timer(0.2, process.kill).start()
        with pytest.raises(RuntimeFailure) as caught:
            opened.run({"x": np.zeros(1 << 22, np.float32)})  # more than a pipe holds
    assert caught.value.kind == "crash"


def test_timeout(own: IsolatedRuntime, saved: SaveModel) -> None:
    opened = own.open(Session(saved(RELU)))
    own.timeout = 0.3
    with frozen(own), pytest.raises(RuntimeFailure, match=r"took longer than 0\.3 s") as caught:
        opened.run(FEEDS)
    assert caught.value.kind == "timeout"
    own.timeout = 60
    assert own.open(Session(saved(RELU))).run(FEEDS)["y"].tolist() == [0, 2]


def test_what_a_model_prints_does_not_disturb_the_pipe(
    own: IsolatedRuntime,
    saved: SaveModel,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(isolated, "_BOOT", NOISY)
    opened = own.open(Session(saved(RELU)))
    assert opened.run(FEEDS)["y"].tolist() == [0, 2]
    assert capfd.readouterr() == ("", "")


def test_onnxruntime_tells_nobody_about_the_model(
    own: IsolatedRuntime, saved: SaveModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its telemetry starts with a session file and a device id, before anything is sent.
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(home))
    own.open(Session(saved(RELU))).run(FEEDS)
    own.close()
    assert list(home.rglob("*")) == []


def test_run_once_from_memory(shared: IsolatedRuntime) -> None:
    model = parse(RELU).SerializeToString()
    for _ in range(2):
        assert shared.run_once(model, FEEDS, ["z"])["z"].tolist() == [1, -2]


def test_close_ends_the_process(own: IsolatedRuntime, saved: SaveModel) -> None:
    own.open(Session(saved(RELU)))
    process = process_of(own)
    own.close()
    assert process.poll() is not None
    own.close()


def test_one_shared_process() -> None:
    assert shared_runtime() is shared_runtime()

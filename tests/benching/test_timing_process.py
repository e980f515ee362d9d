from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.benching.timing_process import Load, Rounds, TimingProcess
from graphopt.errors import RuntimeFailure
from graphopt.runtime.settings import CPU, SessionSettings
from tests.benching.placing import MODELS, place, plain_answers
from tests.build import few

RELU = "agraph (float[N] x) => (float[N] y) { y = Relu(x) }"
NEG = "agraph (float[N] x) => (float[N] y) { y = Neg(x) }"
X = np.array([-1, 2], np.float32)
SETTINGS = SessionSettings(threads=1)


def process_of(timing: TimingProcess) -> subprocess.Popen[bytes]:
    process = timing._runtime._process
    assert process is not None
    return process


def ended(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


def image(seed: int, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"image": np.random.default_rng(seed).random(shape, np.float32)}


@pytest.mark.parametrize("binding", [False, True])
@pytest.mark.parametrize(
    ("name", "shape"), [("lenet_5", (2, 1, 28, 28)), ("resnet_20", (1, 1, 28, 28))]
)
def test_answers_are_those_of_onnxruntime(name: str, shape: tuple[int, ...], binding: bool) -> None:
    feeds = image(0, shape)
    path = MODELS / f"{name}.onnx"
    with TimingProcess([feeds]) as process:
        loaded = process.load(path, SessionSettings(), binding=binding)
        process.rounds(2, 0, Load(block=2), 0)
        found = process.answers(0)
    expected = plain_answers(path, feeds)
    assert list(found) == list(expected)
    for output, value in expected.items():
        assert np.allclose(found[output], value, rtol=1e-4, atol=1e-5)
    assert loaded.providers == (CPU,)
    assert loaded.session_seconds > 0
    assert loaded.first_run_seconds > 0
    assert loaded.copy_seconds is None


def test_several_models_beside_each_other(tmp_path: Path) -> None:
    paths = [place(tmp_path, RELU, "relu"), place(tmp_path, NEG, "neg")]
    with TimingProcess([{"x": X}]) as process:
        for path in [*paths, paths[0]]:
            process.load(path, SETTINGS, binding=False)
        answers = [process.answers(arm)["y"].tolist() for arm in range(3)]
        assert process.warm(2).shape == (2, 3)
        found = process.rounds(4, 0, Load(block=5), 1)
    assert answers == [[0, 2], [1, -2], [0, 2]]
    assert found.wall.shape == found.cpu.shape == (4, 3, 5)
    assert found.busy.shape == (4, 3)
    assert (found.wall > 0).all()
    assert (found.cpu >= 0).all()
    assert found.lost == 0


def test_warming_runs_every_model_on_every_input_set(tmp_path: Path) -> None:
    with TimingProcess([{"x": X}, {"x": X[:1]}, {"x": X[:0]}]) as process:
        process.load(place(tmp_path, RELU), SETTINGS, binding=False)
        process.load(place(tmp_path, NEG, "neg"), SETTINGS, binding=True)
        found = process.warm(4)
    assert found.shape == (12, 2)
    assert (found > 0).all()


RESHAPE = "agraph (float[N] x, int64[2] s) => (float[A,B] y) { y = Reshape(x, s) }"


def shaped(*sizes: tuple[int, int]) -> list[dict[str, Any]]:
    """Input sets for RESHAPE with six elements; it fails where that is not their product."""
    return [{"x": np.zeros(6, np.float32), "s": np.array(size)} for size in sizes]


@pytest.mark.parametrize(
    ("first", "count", "reached"),
    [(0, 2, False), (0, 3, True), (1, 1, False), (2, 1, True), (3, 2, False), (4, 2, True)],
)
@pytest.mark.parametrize("load", [Load(block=2), Load("closed loop", 4, 2)])
def test_input_sets_take_turns(
    tmp_path: Path, load: Load, first: int, count: int, reached: bool
) -> None:
    # Only the third set fails, so that it shows whether it was reached.
    with TimingProcess(shaped((2, 3), (3, 2), (2, 4))) as process:
        process.load(place(tmp_path, RESHAPE), SETTINGS, binding=False)
        if reached:
            with pytest.raises(RuntimeFailure, match="Reshape"):
                process.rounds(count, first, load, 0)
        else:
            assert len(process.rounds(count, first, load, 0).wall) == count


@pytest.mark.parametrize("binding", [False, True])
@pytest.mark.parametrize(
    "load",
    [Load("closed loop", 12, 3), Load("open loop", 12, 2, 2000.0), Load("open loop", 5, 1, 1e5)],
)
def test_load_through_the_process(tmp_path: Path, load: Load, binding: bool) -> None:
    with TimingProcess([{"x": X}, {"x": X[:1]}]) as process:
        process.load(place(tmp_path, RELU), SETTINGS, binding=binding)
        process.load(place(tmp_path, NEG, "neg"), SETTINGS, binding=binding)
        found = process.rounds(3, 0, load, 0)
        assert process.answers(1)["y"].tolist() == [1, -2]
    assert found.wall.shape == found.cpu.shape == (3, 2, load.block)
    assert np.isfinite(found.wall).all()
    assert (found.wall > 0).all()
    assert (found.busy > 0).all()
    assert (found.busy <= 1 + 1e-9).all()
    assert (found.cpu == found.cpu[..., :1]).all()  # a process has one clock for all its callers
    assert found.lost == 0


def test_model_that_does_not_load(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with TimingProcess([{"x": X}]) as process:
        process.load(place(tmp_path, RELU), SETTINGS, binding=False)
        with pytest.raises(RuntimeFailure) as caught:
            process.load(broken, SETTINGS, binding=False)
        assert (caught.value.kind, caught.value.file) == ("load", str(broken))
        assert "\n" not in str(caught.value)
        # The others are still there, under their numbers.
        process.load(place(tmp_path, NEG, "neg"), SETTINGS, binding=False)
        assert process.answers(1)["y"].tolist() == [1, -2]


@pytest.mark.parametrize(
    "feeds", [{"x": X.reshape(1, 2)}, {"x": X.astype(np.int64)}, {}, {"x": X, "other": X}]
)
@pytest.mark.parametrize("binding", [False, True])
def test_model_that_fails_on_the_inputs(
    tmp_path: Path, feeds: dict[str, Any], binding: bool
) -> None:
    path = place(tmp_path, RELU)
    with TimingProcess([feeds]) as process:
        with pytest.raises(RuntimeFailure) as caught:
            process.load(path, SETTINGS, binding=binding)
        assert caught.value.file == str(path)
        pid = process_of(process)
    assert ended(pid)


def test_model_that_fails_on_the_second_input_set(tmp_path: Path) -> None:
    path = place(tmp_path, RESHAPE)
    with TimingProcess(shaped((2, 3), (2, 4))) as process:
        process.load(path, SETTINGS, binding=False)
        for load in (Load(block=2), Load("closed loop", 4, 2), Load("open loop", 4, 2, 1e3)):
            with pytest.raises(RuntimeFailure) as caught:
                process.rounds(2, 0, load, 0)
            assert (caught.value.kind, caught.value.file) == ("run", str(path))
        with pytest.raises(RuntimeFailure, match="Reshape"):
            process.warm(1)
        assert process.answers(0)["y"].shape == (2, 3)


def test_crash_in_mid_run_names_the_file(tmp_path: Path) -> None:
    path = place(tmp_path, RELU)
    with TimingProcess([{"x": X}]) as process:
        process.load(path, SETTINGS, binding=False)
        child = process_of(process)
        os.kill(child.pid, signal.SIGSTOP)
        threading.Timer(0.2, child.kill).start()
        with pytest.raises(RuntimeFailure, match="SIGKILL") as caught:
            process.rounds(1, 0, Load(), 0)
    assert (caught.value.kind, caught.value.file) == ("crash", str(path))
    assert ended(child)


REQUESTS: dict[str, Callable[[TimingProcess, Path], object]] = {
    "rounds": lambda process, path: process.rounds(1, 0, Load(), 0),
    "warm": lambda process, path: process.warm(1),
    "answers": lambda process, path: process.answers(0),
    "load": lambda process, path: process.load(path, SETTINGS, binding=False),
}


@pytest.mark.parametrize("what", REQUESTS)
def test_process_that_died_between_requests_is_a_crash(tmp_path: Path, what: str) -> None:
    # A new process would know nothing of the models that were loaded.
    path = place(tmp_path, RELU)
    with TimingProcess([{"x": X}]) as process:
        process.load(path, SETTINGS, binding=False)
        process_of(process).kill()
        process_of(process).wait()
        with pytest.raises(RuntimeFailure) as caught:
            REQUESTS[what](process, path)
    assert (caught.value.kind, caught.value.file) == ("crash", str(path))


def test_process_is_gone_whatever_happened(tmp_path: Path) -> None:
    children = []
    with TimingProcess([{"x": X}]) as process:
        process.load(place(tmp_path, RELU), SETTINGS, binding=False)
        children.append(process_of(process))
    with pytest.raises(KeyboardInterrupt), TimingProcess([{"x": X}]) as process:
        process.load(place(tmp_path, RELU), SETTINGS, binding=False)
        children.append(process_of(process))
        raise KeyboardInterrupt
    assert all(ended(child) for child in children)
    assert children[0].pid != children[1].pid


def test_nothing_is_started_before_it_is_needed() -> None:
    with TimingProcess([]) as process:
        assert process._runtime._process is None


SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 3))


def made(shape: tuple[int, int, int], seed: int) -> Rounds:
    rng = np.random.default_rng(seed)
    return Rounds(rng.random(shape), rng.random(shape), rng.random(shape[:2]), seed)


@few
@given(SHAPES, st.integers(0, 99))
def test_models_come_back_in_the_order_they_were_asked_for(
    shape: tuple[int, int, int], seed: int
) -> None:
    asked = made(shape, seed)
    order = np.random.default_rng(seed).permutation(shape[1])
    timed = asked.ordered(order)  # the model at place i is order[i]
    assert all(np.array_equal(timed.wall[:, i], asked.wall[:, m]) for i, m in enumerate(order))
    back = timed.ordered(np.argsort(order))
    for name in ("wall", "cpu", "busy"):
        assert np.array_equal(getattr(back, name), getattr(asked, name))
    assert back.lost == asked.lost


def test_rounds_are_joined_in_time() -> None:
    parts = [made((2, 3, 4), 1), made((1, 3, 4), 2)]
    joined = Rounds.joined(parts)
    assert joined.wall.shape == joined.cpu.shape == (3, 3, 4)
    assert np.array_equal(joined.wall[2], parts[1].wall[0])
    assert np.array_equal(joined.cpu[:2], parts[0].cpu)
    assert np.array_equal(joined.busy[2], parts[1].busy[0])
    assert joined.lost == 3


def test_path_relative_to_where_the_caller_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(tmp_path, RELU)
    monkeypatch.chdir(tmp_path)
    with TimingProcess([{"x": X}]) as process:
        process.load(Path("model.onnx"), SETTINGS, binding=False)
        assert process.answers(0)["y"].tolist() == [0, 2]


def test_models_without_inputs(tmp_path: Path) -> None:
    path = place(tmp_path, "agraph () => (float[2] y) { y = Relu(w) }", w=X)
    for binding in (False, True):
        with TimingProcess([{}]) as process:
            process.load(path, SETTINGS, binding=binding)
            assert process.rounds(2, 0, Load(block=3), 0).wall.shape == (2, 1, 3)
            assert process.answers(0)["y"].tolist() == [0, 2]

"""Saving that does not come to its end: killed, a full disk, an interrupt."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import pytest

from graphopt.errors import FileError
from graphopt.model import Model, SaveOptions, load_model, save, save_model
from graphopt.model.tensors import model_tensors
from tests.build import RAMP, external_tensor, holding, parse

ROOT = Path(__file__).parents[2]
EVERYTHING_OUT = SaveOptions(external_threshold=1)


def embedded(value: float) -> Model:
    text = "agraph (float[64] x) => (float[64] y) { y = Add(x, w) }"
    return Model(parse(text, w=np.arange(64, dtype=np.float32) + value))


def content(path: Path) -> tuple[str, list[object]]:
    """All that a model says: its message without the places of its data, and its arrays."""
    model = load_model(path)
    arrays = [model.tensor(t).array().tolist() for t in model_tensors(model.proto)]
    bare = type(model.proto)()
    bare.CopyFrom(model.proto)
    for tensor in model_tensors(bare):
        tensor.Clear()
    return str(bare), arrays


def files(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def embedded_elsewhere(folder: Path) -> None:
    save_model(embedded(0), folder / "in" / "model.onnx")
    (folder / "out").mkdir()
    save_model(embedded(9), folder / "out" / "model.onnx")


def embedded_in_place(folder: Path) -> None:
    save_model(embedded(0), folder / "in" / "model.onnx")


def external_elsewhere(folder: Path) -> None:
    external_in_place(folder)
    (folder / "out").mkdir()
    save_model(embedded(9), folder / "out" / "model.onnx", EVERYTHING_OUT)


def external_in_place(folder: Path) -> None:
    (folder / "in" / "w.bin").write_bytes(RAMP.tobytes())
    proto = holding(external_tensor("w", "w.bin", RAMP), "initializer")
    (folder / "in" / "model.onnx").write_bytes(proto.SerializeToString())


def our_data_in_place(folder: Path) -> None:
    save_model(embedded(0), folder / "in" / "model.onnx", EVERYTHING_OUT)


SCENES = [
    embedded_elsewhere,
    embedded_in_place,
    external_elsewhere,
    external_in_place,
    our_data_in_place,
]


def scene(prepare: Callable[[Path], None], base: Path, number: int) -> Path:
    folder = base / str(number)
    (folder / "in").mkdir(parents=True)
    prepare(folder)
    return folder


def save_and_die(base: Path) -> str:
    """Run the saves of a folder; give what those that lived printed."""
    command = [sys.executable, "-m", "tests.model.save_and_die", str(base)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("prepare", SCENES, ids=lambda function: str(function.__name__))
def test_killed_at_any_step_the_target_is_the_former_or_the_new_one(
    prepare: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    whole = scene(prepare, tmp_path / "alive", 0)
    target = Path("out" if (whole / "out").is_dir() else "in", "model.onnx")
    former, source = content(whole / target), files(whole / "in")
    calls = int(save_and_die(tmp_path / "alive"))
    new = content(whole / target)
    assert new != former
    later = content(save_model(embedded(5), tmp_path / "later.onnx"))
    folders = [scene(prepare, tmp_path / "dead", number) for number in range(1, calls + 1)]
    assert save_and_die(tmp_path / "dead") == "", "one lived on"
    found = [content(folder / target) for folder in folders]
    commit = found.index(new)
    assert found == [former] * commit + [new] * (calls - commit)
    assert 0 < commit < calls
    for folder in folders:
        kept = files(folder / "in")
        user = {k: v for k, v in source.items() if k == "w.bin" or target.parts[0] == "out"}
        assert user.items() <= kept.items()
        save_model(embedded(5), folder / target)
        assert not list(folder.rglob("*.tmp")), "what the killed one left is still there"
        assert content(folder / target) == later


class BadDisk:
    """A stream, but for how it writes."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream

    def __enter__(self) -> Self:
        self.stream.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        self.stream.__exit__(*problem)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class LossyDisk(BadDisk):
    """One that says yes and keeps half, as full network shares do."""

    def write(self, block: bytes) -> int:
        self.stream.write(bytes(block)[: len(block) // 2])
        return len(block)


class FullDisk(BadDisk):
    """One that has room for so many bytes."""

    def __init__(self, stream: BinaryIO, room: int) -> None:
        super().__init__(stream)
        self.room = room

    def write(self, block: bytes) -> int:
        self.room -= len(block)
        if self.room < 0:
            self.stream.write(block[: len(block) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.stream.write(block)


@pytest.mark.parametrize("options", [SaveOptions(), EVERYTHING_OUT], ids=["embedded", "external"])
@pytest.mark.parametrize("room", [0, 100, 300])
@pytest.mark.parametrize("former", [True, False])
def test_a_full_disk_leaves_the_former_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: SaveOptions, room: int, former: bool
) -> None:
    target = tmp_path / "m.onnx"
    if former:
        save_model(embedded(1), target, options)
    before = files(tmp_path)
    create = save._create
    left = [room]

    def on_full_disk(path: Path) -> Any:
        stream = FullDisk(create(path), left[0])
        left[0] -= 256  # what the data file takes is gone for the model file
        return stream

    monkeypatch.setattr(save, "_create", on_full_disk)
    with pytest.raises(FileError, match="No space left") as caught:
        save_model(embedded(2), target, options)
    assert str(target) in str(caught.value)
    assert files(tmp_path) == before


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod", "open"])
def test_an_error_of_the_disk_at_any_call_leaves_the_former_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    target = save_model(embedded(1), tmp_path / "m.onnx", EVERYTHING_OUT)
    before = files(tmp_path)
    system = getattr(os, call)
    for fatal in (1, 2):
        seen = 0

        def fails(*args: Any, _fatal: int = fatal, **options: Any) -> Any:
            nonlocal seen
            seen += str(args[0]).endswith(".tmp") or isinstance(args[0], int)
            if seen == _fatal:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return system(*args, **options)

        with monkeypatch.context() as patched:
            patched.setattr(os, call, fails)
            if call == "chmod" and fatal == 2:
                break
            with pytest.raises(FileError, match="Input/output error"):
                save_model(embedded(2), target, EVERYTHING_OUT)
        assert files(tmp_path) == before


def test_a_quota_of_the_system_is_one_clear_error(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys\n"
        "from graphopt.errors import FileError\n"
        "from graphopt.model import load_model, save_model\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))\n"
        "try:\n    save_model(load_model(sys.argv[1]), sys.argv[2])\n"
        "except FileError as error:\n    print(error)\n"
    )
    source = save_model(embedded(1), tmp_path / "in.onnx")
    before = files(tmp_path)
    command = [sys.executable, "-c", script, str(source), str(tmp_path / "out.onnx")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "cannot be written: File too large" in done.stdout
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["write data", "rename data", "write model", "replace model"])
@pytest.mark.parametrize("problem", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_before_the_commit_cleans_up(
    tmp_path: Path, name: str, problem: type[BaseException]
) -> None:
    target = save_model(embedded(1), tmp_path / "m.onnx", EVERYTHING_OUT)
    before = files(tmp_path)

    def interrupt(step: str) -> None:
        if step == name:
            raise problem

    with pytest.raises(problem):
        save_model(embedded(2), target, SaveOptions(1, interrupt))
    assert files(tmp_path) == before


def test_an_interrupted_save_of_the_same_weights_keeps_their_data(tmp_path: Path) -> None:
    target = save_model(embedded(1), tmp_path / "m.onnx", EVERYTHING_OUT)
    before = files(tmp_path)

    def interrupt(step: str) -> None:
        if step == "replace model":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_model(embedded(1), target, SaveOptions(1, interrupt))
    assert files(tmp_path) == before


@pytest.mark.parametrize("options", [SaveOptions(), EVERYTHING_OUT], ids=["embedded", "external"])
def test_what_cannot_be_read_back_is_not_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: SaveOptions
) -> None:
    target = save_model(embedded(1), tmp_path / "m.onnx", options)
    before = files(tmp_path)
    create = save._create

    def create_lossy(path: Path) -> Any:
        return LossyDisk(create(path))

    monkeypatch.setattr(save, "_create", create_lossy)
    with pytest.raises(FileError):
        save_model(embedded(2), target, options)
    assert files(tmp_path) == before


def test_an_interrupt_after_the_commit_leaves_the_new_model_whole(tmp_path: Path) -> None:
    target = save_model(embedded(1), tmp_path / "m.onnx", EVERYTHING_OUT)

    def interrupt(step: str) -> None:
        if step == "remove former data":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_model(embedded(2), target, SaveOptions(1, interrupt))
    assert content(target)[1] == [(np.arange(64) + 2.0).tolist()]


def test_the_steps_are_those_of_the_protocol(tmp_path: Path) -> None:
    steps: list[str] = []
    save_model(embedded(1), tmp_path / "m.onnx", SaveOptions(1, steps.append))
    wanted = ["write data", "rename data", "write model", "replace model", "remove former data"]
    assert steps == wanted
    shutil.rmtree(tmp_path)

"""Saving beside other processes, and the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.errors import FileError
from graphopt.model import Model, SaveOptions, load_model, save, save_model
from tests.build import parse

ROOT = Path(__file__).parents[2]

SAVE_ALL = """
import sys
from graphopt.model import SaveOptions, load_model, save_model
source, folder = sys.argv[1:]
for name, threshold in (("inside", None), ("outside", 1)):
    model = load_model(source)
    proto = type(model.proto)()
    proto.CopyFrom(model.proto)
    save_model(model.with_proto(proto), f"{folder}/{name}.onnx", SaveOptions(threshold))
"""


def example() -> Model:
    text = "agraph (float[4] x) => (float[4] y) { y = Add(x, w) }"
    proto = parse(text, w=np.ones(4, np.float32), v=np.zeros(9))
    for key in "hgfedcba":
        proto.metadata_props.add(key=key, value="1")
    return Model(proto)


@pytest.fixture
def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def living_process() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate()


def test_what_a_dead_process_left_is_removed(tmp_path: Path, dead_process: int) -> None:
    for suffix in ("", ".data"):
        (tmp_path / f".m.onnx.graphopt-{dead_process}{suffix}.tmp").write_bytes(b"half")
    save_model(example(), tmp_path / "m.onnx")
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.onnx"]


def test_what_a_living_process_writes_is_kept(tmp_path: Path, living_process: int) -> None:
    writing = tmp_path / f".m.onnx.graphopt-{living_process}.data.tmp"
    writing.write_bytes(b"half")
    save_model(example(), tmp_path / "m.onnx")
    assert writing.read_bytes() == b"half"


def test_files_that_only_look_alike_are_kept(tmp_path: Path, dead_process: int) -> None:
    alike = [
        f".other.onnx.graphopt-{dead_process}.tmp",
        f"m.onnx.graphopt-{dead_process}.tmp",
        f".mXonnx.graphopt-{dead_process}.tmp",
        ".m.onnx.graphopt-.tmp",
        ".m.onnx.graphopt-12x.tmp",
        f".m.onnx.graphopt-{dead_process}.tmp.bak",
    ]
    for name in alike:
        (tmp_path / name).write_bytes(b"the user's")
    save_model(example(), tmp_path / "m.onnx")
    assert {entry.name for entry in tmp_path.iterdir()} == {*alike, "m.onnx"}


def test_a_link_under_the_temporary_name_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    for suffix in ("", ".data"):
        link = tmp_path / f".m.onnx.graphopt-{os.getpid()}{suffix}.tmp"
        link.symlink_to(tmp_path / "precious")
    target = save_model(example(), tmp_path / "m.onnx", SaveOptions(external_threshold=1))
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not target.is_symlink()
    load_model(target)


def test_nor_is_one_that_comes_there_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / f".m.onnx.graphopt-{os.getpid()}.tmp").symlink_to(tmp_path / "precious")
    monkeypatch.setattr(save, "_unlink", lambda path: None)  # as if it came after that
    with pytest.raises(FileError, match="File exists"):
        save_model(example(), tmp_path / "m.onnx")
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_every_process_writes_the_same_bytes(tmp_path: Path) -> None:
    source = save_model(example(), tmp_path / "in.onnx")
    written = []
    for seed in ("0", "1", "4242"):
        folder = tmp_path / seed
        folder.mkdir()
        subprocess.run(
            [sys.executable, "-c", SAVE_ALL, str(source), str(folder)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )
        written.append({entry.name: entry.read_bytes() for entry in folder.iterdir()})
    assert len(written[0]) == 3
    assert written[0] == written[1] == written[2]


def test_bytes_are_on_the_disk_before_they_get_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def recorded(name: str) -> Any:
        system = getattr(os, name)

        def call(*args: Any, **options: Any) -> Any:
            folder = name == "fsync" and Path(f"/proc/self/fd/{args[0]}").is_dir()
            calls.append("fsync folder" if folder else name)
            return system(*args, **options)

        return call

    for name in ("fsync", "replace", "unlink"):
        monkeypatch.setattr(os, name, recorded(name))
    options = SaveOptions(external_threshold=1)
    save_model(example(), tmp_path / "m.onnx", options)
    calls.clear()
    proto = example().proto
    proto.graph.initializer[0].raw_data = bytes(16)
    save_model(Model(proto), tmp_path / "m.onnx", options)
    commit = len(calls) - 1 - calls[::-1].index("replace")
    disk = [call for call in calls if call != "unlink"]
    assert disk == ["fsync", "replace", "fsync", "replace", "fsync folder"]
    assert "unlink" in calls[calls.index("fsync folder") :], "the former data goes last"
    assert calls[commit + 1] == "fsync folder"

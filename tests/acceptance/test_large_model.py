"""A model of 500 MB goes through without being held: its weights stay in their file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto

from graphopt.model import load_model
from tests.build import external_tensor, parse

ROOT = Path(__file__).parents[2]
WIDTH, LAYERS = 2048, 32
SIZE = WIDTH * WIDTH * 4
LIMIT_MB = 64


def layers(count: int) -> ModelProto:
    """Matrix products one after the other, each weight in model.data."""
    names = ["x", *(f"h{i}" for i in range(1, count)), "y"]
    lines = [f"{out} = MatMul({names[i]}, w{i})" for i, out in enumerate(names[1:])]
    model = parse(f"g (float[N, {WIDTH}] x) => (float[N, {WIDTH}] y) {{ {' '.join(lines)} }}")
    shape = np.broadcast_to(np.float32(0), (WIDTH, WIDTH))
    for index in range(count):
        tensor = external_tensor("", "model.data", shape[:1, :1], offset=index * SIZE, length=SIZE)
        tensor.name, tensor.dims[:] = f"w{index}", [WIDTH, WIDTH]
        model.graph.initializer.append(tensor)
    return model


def written(folder: Path, count: int) -> Path:
    (folder / "model.onnx").write_bytes(layers(count).SerializeToString())
    rng = np.random.default_rng(0)
    with (folder / "model.data").open("wb") as stream:
        for _ in range(count):
            stream.write(rng.bytes(SIZE))
    return folder / "model.onnx"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose large files do not outlive the test."""
    yield tmp_path
    for path in tmp_path.iterdir():
        path.unlink()


def cost(*arguments: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.acceptance.large_model", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_load_inspect_link_and_save_hold_less_than_64_mb(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = written(folder, LAYERS), folder / "out.onnx"
    baseline, whole = cost(), cost(source, target)
    growth = whole["peak_mb"] - baseline["peak_mb"]
    with capsys.disabled():
        print(
            f"\n512 MB model: {growth:.1f} MB above the {baseline['peak_mb']:.0f} MB of the "
            f"imports, {whole['array_mb']:.3f} MB in arrays, {whole['read_mb']:.0f} MB streamed",
            file=sys.stderr,
        )
    assert growth < LIMIT_MB
    assert whole["array_mb"] < LIMIT_MB
    assert whole["read_mb"] == 512, "each weight is read once, for its copy"
    before, after = load_model(source), load_model(target)
    for old, new in zip(before.proto.graph.initializer, after.proto.graph.initializer, strict=True):
        assert (new.name, new.dims) == (old.name, old.dims)
        assert before.tensor(old).digest() == after.tensor(new).digest()
    assert (folder / "model.data").stat().st_size == LAYERS * SIZE


def test_the_measure_sees_weights_that_are_held(folder: Path) -> None:
    """The count would notice: one array of the model is 16 MB."""
    source = written(folder, 6)
    script = (
        "import sys\n"
        "from tests.acceptance import large_model\n"
        "from graphopt.model import load_model\n"
        "def carry(source, target):\n"
        "    model = load_model(source)\n"
        "    held = [model.tensor(t).array() for t in model.proto.graph.initializer]\n"
        "    return len(held)\n"
        "large_model.carry = carry\n"
        "large_model.main()\n"
    )
    command = [sys.executable, "-c", script, str(source), "unused"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["array_mb"] == 6 * 16
    assert found["peak_mb"] - cost()["peak_mb"] > LIMIT_MB

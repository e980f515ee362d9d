from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import Run, is_error

SHORT = ("--seconds", "3", "--max-threads", "2")
LENET = Path(__file__).parents[2] / "models" / "lenet_5.onnx"


def test_json_and_files(run: Run, tmp_path: Path) -> None:
    shutil.copy(LENET, tmp_path / "lenet.onnx")
    done = run("tune", "lenet.onnx", *SHORT, "--json", "--report", "t.json", "--report", "t.md")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["ratio"]["low"] <= 1
    assert json.loads(Path("t.json").read_text()) == found
    assert Path("t.md").read_text().startswith("# Tuning of lenet")
    names: dict[str, Any] = {}
    exec(found["snippet"], names)
    image = np.zeros((1, 1, 28, 28), np.float32)
    assert names["session"].run(None, {"image": image})[0].shape == (1, 10)
    assert (tmp_path / "lenet.onnx").read_bytes() == LENET.read_bytes()


def test_text_ends_in_code(run: Run, model: Path) -> None:
    done = run("tune", model, *SHORT)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("model on CPUExecutionProvider, latency: ")
    start = done.out.index("import onnxruntime")
    compile(done.out[start:], "printed", "exec")


def test_quiet(run: Run, model: Path) -> None:
    done = run("tune", model, "--seconds", "1", "-q", "--objective", "throughput", "--batch", "1,2",
               "--concurrency", "1")  # fmt: skip
    assert (done.code, done.out, done.err) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--batch", "1,2"), 2, "throughput"),
        (("--batch", "none"), 2, "--batch"),
        (("--concurrency", "2"), 2, "throughput"),
        (("--seconds", "nan"), 2, "--seconds"),
        (("--seconds", "0"), 2, "--seconds"),
        (("--max-threads", "0"), 2, "--max-threads"),
        (("--objective", "beauty"), 2, "beauty"),
        (("--provider", "nonesuch"), 2, "nonesuch"),
        (("--report", "t.html"), 2, ".md"),
        (("--report", "none/t.md"), 3, "folder"),
        (("--data", "none.npz"), 3, "none.npz"),
    ],
)
def test_mistakes(run: Run, model: Path, arguments: tuple[str, ...], code: int, word: str) -> None:
    assert is_error(run("tune", model, *arguments), code, word)
    assert not list(model.parent.glob("t.*"))


def test_no_model(run: Run) -> None:
    assert is_error(run("tune", "none.onnx"), 3, "none.onnx")

"""What a user may get wrong, through the command line: one clear line, and every file as it was."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto

from tests.build import parse

W = np.arange(4096, dtype=np.float32).reshape(64, 64)
MODEL = """g (float[N,64] x) => (float[N,64] y) {
    t = Identity(x)
    y = MatMul(t, w)
}"""
GOOD = parse(MODEL, w=W).SerializeToString()

Prepare = Callable[[Path], list[str]]


def optimize(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    temporary = folder.parent / "tmp"
    temporary.mkdir()
    return subprocess.run(
        [sys.executable, "-m", "graphopt", "optimize", *arguments],
        capture_output=True, text=True, check=False, cwd=folder, timeout=100,
        env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip


def contents(folder: Path) -> dict[str, str]:
    """Every file, link and folder with what it holds."""
    found = {}
    for entry in sorted(folder.rglob("*")):
        name = str(entry.relative_to(folder))
        if entry.is_symlink():
            found[name] = f"-> {entry.readlink()}"
        elif entry.is_file():
            found[name] = hashlib.sha256(entry.read_bytes()).hexdigest()
        else:
            found[name] = "folder"
    return found


def external(location: str, *, length: int = W.nbytes, offset: int = 0) -> ModelProto:
    """The model with its weight in another file."""
    model = parse(MODEL)
    tensor = model.graph.initializer.add(
        name="w", data_type=TensorProto.FLOAT, dims=W.shape, data_location=TensorProto.EXTERNAL
    )
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return model


def good(folder: Path) -> list[str]:
    (folder / "model.onnx").write_bytes(GOOD)
    return ["model.onnx", "-o", "out.onnx"]


def truncated(folder: Path) -> list[str]:
    (folder / "model.onnx").write_bytes(GOOD[: len(GOOD) * 2 // 3])
    return ["model.onnx", "-o", "out.onnx"]


def random_bytes(folder: Path) -> list[str]:
    (folder / "model.onnx").write_bytes(np.random.default_rng(0).bytes(5000))
    return ["model.onnx", "-o", "out.onnx"]


def text(folder: Path) -> list[str]:
    (folder / "model.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    return ["model.onnx", "-o", "out.onnx"]


def empty(folder: Path) -> list[str]:
    (folder / "model.onnx").touch()
    return ["model.onnx", "-o", "out.onnx"]


def another_protobuf(folder: Path) -> list[str]:
    (folder / "model.onnx").write_bytes(onnx.numpy_helper.from_array(W, "w").SerializeToString())
    return ["model.onnx", "-o", "out.onnx"]


def missing(folder: Path) -> list[str]:
    return ["model.onnx", "-o", "out.onnx"]


def missing_external(folder: Path) -> list[str]:
    onnx.save(external("weights.bin"), folder / "model.onnx")
    return ["model.onnx", "-o", "out.onnx"]


def short_external(folder: Path) -> list[str]:
    onnx.save(external("weights.bin"), folder / "model.onnx")
    (folder / "weights.bin").write_bytes(W.tobytes()[:100])
    return ["model.onnx", "-o", "out.onnx"]


def external_beyond_the_end(folder: Path) -> list[str]:
    onnx.save(external("weights.bin", offset=1 << 40), folder / "model.onnx")
    (folder / "weights.bin").write_bytes(W.tobytes())
    return ["model.onnx", "-o", "out.onnx"]


def traversal(folder: Path) -> list[str]:
    (folder.parent / "secret.bin").write_bytes(W.tobytes())
    onnx.save(external("../secret.bin"), folder / "model.onnx")
    return ["model.onnx", "-o", "out.onnx"]


def absolute(folder: Path) -> list[str]:
    (folder.parent / "secret.bin").write_bytes(W.tobytes())
    onnx.save(external(str(folder.parent / "secret.bin")), folder / "model.onnx")
    return ["model.onnx", "-o", "out.onnx"]


def linked(folder: Path) -> list[str]:
    (folder.parent / "secret.bin").write_bytes(W.tobytes())
    (folder / "weights.bin").symlink_to(folder.parent / "secret.bin")
    onnx.save(external("weights.bin"), folder / "model.onnx")
    return ["model.onnx", "-o", "out.onnx"]


def output_in_no_folder(folder: Path) -> list[str]:
    return [good(folder)[0], "-o", "none/out.onnx"]


def output_is_a_folder(folder: Path) -> list[str]:
    """A folder is where the model goes under its own name; that name is a folder, too."""
    (folder / "out.onnx" / "model.onnx").mkdir(parents=True)
    return good(folder)


def output_below_a_file(folder: Path) -> list[str]:
    return [good(folder)[0], "-o", "model.onnx/out.onnx"]


def output_in_proc(folder: Path) -> list[str]:
    return [good(folder)[0], "-o", "/proc/self/out.onnx"]


def unknown_pass(folder: Path) -> list[str]:
    return [*good(folder), "--pass", "fold_constant"]


def unknown_option_of_a_pass(folder: Path) -> list[str]:
    return [*good(folder), "--pass", "fold_constants:max_byte=3"]


def bad_recipe_key(folder: Path) -> list[str]:
    (folder / "mine.toml").write_text(
        '[[stage]]\nrepeats = 3\n[[stage.pass]]\nname = "fold_constants"\n'
    )
    return [*good(folder), "--recipe", "mine.toml"]


def recipe_is_no_toml(folder: Path) -> list[str]:
    (folder / "mine.toml").write_text("[[stage\n")
    return [*good(folder), "--recipe", "mine.toml"]


def data_of_another_model(folder: Path) -> list[str]:
    np.savez(folder / "data.npz", image=np.zeros((1, 64), np.float32))
    return [*good(folder), "--data", "data.npz"]


CASES: list[tuple[Prepare, int, list[str]]] = [
    (truncated, 3, ["model.onnx"]),
    (random_bytes, 3, ["model.onnx"]),
    (text, 3, ["model.onnx"]),
    (empty, 3, ["model.onnx", "is empty"]),
    (another_protobuf, 3, ["model.onnx"]),
    (missing, 3, ["model.onnx", "no such file"]),
    (missing_external, 3, ["model.onnx", "weights.bin", "missing"]),
    (short_external, 3, ["model.onnx", "weights.bin", "truncated"]),
    (external_beyond_the_end, 3, ["model.onnx", "weights.bin"]),
    (traversal, 3, ["model.onnx", "../secret.bin", "leaves the model's folder"]),
    (absolute, 3, ["model.onnx", "secret.bin", "leaves the model's folder"]),
    (linked, 3, ["model.onnx", "weights.bin", "--external-data-root"]),
    (output_in_no_folder, 3, ["none/out.onnx"]),
    (output_is_a_folder, 3, ["out.onnx", "is a folder"]),
    (output_below_a_file, 3, ["model.onnx/out.onnx"]),
    (output_in_proc, 3, ["/proc/self/out.onnx"]),
    (unknown_pass, 2, ["fold_constant", "did you mean fold_constants?"]),
    (unknown_option_of_a_pass, 2, ["max_byte", "did you mean max_bytes?"]),
    (bad_recipe_key, 2, ["mine.toml", "repeats", "did you mean repeat?"]),
    (recipe_is_no_toml, 2, ["mine.toml", "is not TOML"]),
    (data_of_another_model, 3, ["data.npz", "'image'", "inputs: x"]),
]


@pytest.mark.parametrize(
    ("prepare", "code", "words"), CASES, ids=[prepare.__name__ for prepare, _, _ in CASES]
)
def test_one_line_the_right_code_and_whole_files(
    tmp_path: Path, prepare: Prepare, code: int, words: list[str]
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    arguments = prepare(folder)
    before = contents(folder)
    done = optimize(folder, *arguments)
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert lines[0].startswith("graphopt: error: ")
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("graphopt: hint: "))
    for word in words:
        assert word in done.stderr
    assert contents(folder) == before
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_is_right_leaves_nothing_behind_either(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    arguments = good(folder)
    before = contents(folder)
    done = optimize(folder, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    after = contents(folder)
    assert after.keys() - before.keys() == {"out.onnx"}
    assert before.items() <= after.items()
    assert list((tmp_path / "tmp").iterdir()) == []

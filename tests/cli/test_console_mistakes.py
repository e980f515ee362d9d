from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from tests.build import parse
from tests.cli.conftest import Run, is_error

OPTIMIZE = ("optimize", "model.onnx", "-o", "out.onnx")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("optimise", "model.onnx"), ["optimise"]),
        (("optimize",), ["MODEL"]),
        ((*OPTIMIZE, "--stict"), ["--stict", "--strict"]),
        ((*OPTIMIZE, "extra"), ["several models need a folder", "-o DIR"]),
        (("optimize", "model.onnx", "-o", "."), ["the output is the input", "--in-place"]),
        ((*OPTIMIZE, "--exclude-node", "relu"), ["no node fits 'relu'", "Relu -> y"]),
        ((*OPTIMIZE, "--keep-output", "u"), ["model.onnx: 'u' is not", "graphopt extract"]),
        ((*OPTIMIZE, "--require", "nodes <= 1"), ["no metric 'nodes'", "nodes_ratio"]),
        ((*OPTIMIZE, "--require", "p99_ms <= 1"), ["does not measure p99_ms", "bench"]),
        ((*OPTIMIZE, "--recipe", "exakt"), ["'exakt'", "did you mean exact?"]),
        ((*OPTIMIZE, "--pass", "fold_constant"), ["did you mean fold_constants?"]),
        (
            (*OPTIMIZE, "--pass", "fold_constants:max_byte=1"),
            ["fold_constants", "did you mean max_bytes?"],
        ),
        ((*OPTIMIZE, "--pass", "fold_constants:max_bytes=few"), ["max_bytes", "'few'"]),
        ((*OPTIMIZE, "--pass", "fold_constants:max_bytes"), ["is not key=value"]),
        ((*OPTIMIZE, "--pass", "eliminate_identity:x=1"), ["it has no options"]),
        ((*OPTIMIZE, "--target", "tpu"), ["tpu", "cpu", "cuda"]),
        ((*OPTIMIZE, "--seed", "many"), ["many"]),
        ((*OPTIMIZE, "--seed", "-1"), ["-1"]),
        ((*OPTIMIZE, "--opset", "banana"), ["banana"]),
        ((*OPTIMIZE, "--opset", "9"), ["opset 9 is below the model's own 17"]),
        ((*OPTIMIZE, "--opset", "999"), ["opset 999 is unknown", "at most"]),
        ((*OPTIMIZE, "--verify-limit", "nan"), ["--verify-limit"]),
        ((*OPTIMIZE, "--verify-limit", "-1"), ["--verify-limit"]),
        ((*OPTIMIZE, "--input-shape", "x"), ["NAME:d,d,...", "for example"]),
        ((*OPTIMIZE, "--input-shape", "x:1,²"), ["NAME:d,d,..."]),
        ((*OPTIMIZE, "--input-shape", "x:1,-4"), ["NAME:d,d,..."]),
        ((*OPTIMIZE, "--input-shape", "z:1,4"), ["'z'", "inputs: x"]),
        (("inspect", "model.onnx", "--input-shape", "z:1,4"), ["'z'", "inputs: x"]),
        (("compare", "model.onnx", "model.onnx", "--input-shape", "z:1,4"), ["inputs: x"]),
        (("passes", "fold_constant"), ["did you mean fold_constants?"]),
        (("recipes", "exakt"), ["did you mean exact?"]),
    ],
    ids=lambda value: (
        " ".join(value[2 if value[:1] == ("optimize",) else 0 :])
        if isinstance(value, tuple)
        else ""
    ),
)
def test_usage_mistake(run: Run, model: Path, arguments: tuple[str, ...], words: list[str]) -> None:
    assert is_error(run(*arguments), 2, *words)
    assert [entry.name for entry in model.parent.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("optimize", "none.onnx", "-o", "out.onnx"), ["none.onnx: no such file"]),
        (("inspect", "none.onnx"), ["none.onnx: no such file"]),
        (("inspect", "."), ["is a folder"]),
        (("compare", "model.onnx", "none.onnx"), ["none.onnx: no such file"]),
        (("compare", "none.onnx", "model.onnx"), ["none.onnx: no such file"]),
        ((*OPTIMIZE, "--data", "none.npz"), ["none.npz: no such file"]),
        ((*OPTIMIZE, "--recipe", "none.toml"), ["none.toml: no such file"]),
        (("optimize", "model.onnx", "-o", "none/out.onnx"), ["its folder does not exist"]),
        ((*OPTIMIZE, "--dry-run", "--report", "none/r.json"), ["none/r.json"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_file(run: Run, model: Path, arguments: tuple[str, ...], words: list[str]) -> None:
    assert is_error(run(*arguments), 3, *words)
    assert [entry.name for entry in model.parent.iterdir()] == ["model.onnx"]


def test_no_traceback_without_v_and_one_with_it(run: Run, model: Path) -> None:
    plain = run(*OPTIMIZE, "--recipe", "exakt")
    assert "Traceback" not in plain.err
    for flag in ("-v", "--verbose"):
        verbose = run(*OPTIMIZE, "--recipe", "exakt", flag)
        assert verbose.code == 2
        assert "Traceback (most recent call last)" in verbose.err
        assert plain.complaint[0] in verbose.complaint


def test_error_names_the_file_and_the_node(run: Run, tmp_path: Path) -> None:
    onnx.save(parse("g (float[N] x) => (float[N] y) { y = Relu(x)\n y = Abs(x) }"), "twice.onnx")
    assert is_error(run("optimize", "twice.onnx", "--dry-run"), 3, "twice.onnx", "'y'")


def test_defect_of_graphopt_says_so(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*arguments: object, **options: object) -> object:
        raise RuntimeError("no\nluck")

    monkeypatch.setattr("graphopt.model.load_model", explode)
    done = run("inspect", model)
    assert done.code == 1
    assert done.complaint[0] == "graphopt: internal error: RuntimeError: no luck"
    assert "-v" in done.complaint[1]
    assert len(done.complaint) == 2


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [(KeyboardInterrupt(), 130, "interrupted"), (MemoryError(), 3, "error: out of memory")],
)
def test_what_comes_from_outside(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int,
    words: str,
) -> None:  # fmt: skip
    def stop(*arguments: object, **options: object) -> object:
        raise error

    monkeypatch.setattr("graphopt.model.load_model", stop)
    done = run("optimize", model, "-o", "out.onnx")
    assert (done.code, done.out) == (code, "")
    assert [line for line in done.complaint if line] == [f"graphopt: {words}"]

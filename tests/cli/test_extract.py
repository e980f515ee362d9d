from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from graphopt.cli.extract import parse_names
from graphopt.errors import UsageError
from models.fetch import fetch
from tests.cli.conftest import Run, is_error, node_ops


def border(path: Path) -> tuple[list[str], list[str]]:
    graph = onnx.load(path).graph
    return [info.name for info in graph.input], [info.name for info in graph.output]


def test_a_piece_between_named_tensors(run: Run, model: Path) -> None:
    done = run("extract", model, "-o", "out.onnx", "--inputs", "t", "--outputs", "y,u")
    assert done.code == 0
    assert done.out.splitlines()[1:4] == [
        "  inputs: t float32[N,4]", "  outputs: y float32[N,3], u float32[N,3]",
        "  2 of 3 nodes, 48 of 48 bytes of weights",
    ]  # fmt: skip
    assert border(model.parent / "out.onnx") == (["t"], ["y", "u"])
    assert node_ops(model.parent / "out.onnx") == ["MatMul", "Relu"]


def test_lists_may_be_repeated(run: Run, model: Path) -> None:
    done = run("extract", model, "-o", "out.onnx", "--outputs", "y", "--outputs", "u")
    assert done.code == 0
    assert border(model.parent / "out.onnx") == (["x"], ["y", "u"])


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 2, ["--outputs"]),
        (["--outputs", "yy"], 2, ["there is no tensor 'yy'", "did you mean 'y'?"]),
        (["--outputs", "t", "--inputs", "u"], 2, ["output 't' needs input 'x' too", "u,x"]),
        (["--outputs", "y,"], 2, ["'y,' has an empty name in it"]),
        (["--outputs", "y,y"], 2, ["output 'y' is named twice"]),
        (["--outputs", "x"], 2, ["output 'x' is an input of the model"]),
        (["--outputs", "y", "--inputs", "x,t"], 2, ["no output depends on input 'x'"]),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(
    run: Run, model: Path, options: list[str], code: int, words: list[str]
) -> None:
    assert is_error(run("extract", model, "-o", "out.onnx", *options), code, *words)
    assert not (model.parent / "out.onnx").exists()


def test_names_are_split_at_commas() -> None:
    assert parse_names(["a, b", "c"], "--inputs") == ["a", "b", "c"]
    with pytest.raises(UsageError, match="--inputs"):
        parse_names(["a,,b"], "--inputs")


def test_a_tensor_of_unknown_rank_in_the_voice_detector(run: Run, tmp_path: Path) -> None:
    path = fetch("silero_vad")
    inner = onnx.load(path).graph.node[-1].input[0]
    done = run("extract", path, "-o", "out.onnx", "--outputs", inner)
    assert done.code == 0, done
    assert border(tmp_path / "out.onnx") == (["input", "state", "sr"], [inner])
    body = onnx.load(path).graph.node
    branch = next(a.g for node in body for a in node.attribute if a.HasField("g"))
    name = branch.node[0].output[0]
    done = run("extract", path, "-o", "none.onnx", "--outputs", name)
    assert is_error(done, 2, f"output {name!r} is inside the body", "main graph")


def test_the_two_halves_of_the_text_reader(run: Run, tmp_path: Path) -> None:
    path = fetch("ppocr_rec")
    graph = onnx.load(path).graph
    middle, last = "p2o.Add.119", graph.output[0].name
    assert run("extract", path, "-o", "first.onnx", "--outputs", middle).code == 0
    second = run("extract", path, "-o", "second.onnx", "--inputs", middle, "--outputs", last)
    assert second.code == 0, second
    first, rest = (len(onnx.load(tmp_path / f"{n}.onnx").graph.node) for n in ("first", "second"))
    assert first + rest <= len(graph.node)

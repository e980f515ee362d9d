from __future__ import annotations

import json
from pathlib import Path

import onnx

from tests.build import parse
from tests.cli.conftest import Run


def test_shows_what_a_model_is_made_of(run: Run, model: Path) -> None:
    done = run("inspect", "model.onnx")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "model.onnx"
    assert any(line.split() == ["nodes", "3", "(0", "Constant)"] for line in lines)
    assert any(line.startswith("operators") and "MatMul 1" in line for line in lines)


def test_json(run: Run, model: Path) -> None:
    done = run("inspect", model, "--json")
    stats = json.loads(done.out)
    assert (stats["nodes"], stats["parameters"], stats["initializers"]) == (3, 12, 1)
    assert stats["file_bytes"] == model.stat().st_size
    assert stats["opsets"] == {"": 17}


def test_macs_at_a_stated_shape(run: Run, model: Path) -> None:
    stats = json.loads(run("inspect", model, "--json", "--input-shape", "x:5,4").out)
    assert stats["macs"] == 5 * 4 * 3
    assert stats["macs_at"] == {"x": [5, 4]}


def test_unknown_is_said(run: Run, tmp_path: Path) -> None:
    onnx.save(parse("g (float x) => (float y) { y = com.acme.Op(x) }"), tmp_path / "m.onnx")
    assert run("inspect", "m.onnx").code == 0


def test_names_of_a_stranger_are_no_markup(run: Run, tmp_path: Path) -> None:
    model = parse("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    model.graph.node[0].op_type = "[/red]"
    model.graph.node[0].domain = "[bold]"
    onnx.save(model, tmp_path / "m.onnx")
    done = run("inspect", "m.onnx")
    assert done.code == 0, done.err
    assert "[/red]" in done.out


def test_broken_graph_can_still_be_looked_at(run: Run, tmp_path: Path) -> None:
    model = parse("g (float[N] x) => (float[N] y) { y = Relu(nowhere) }")
    onnx.save(model, tmp_path / "m.onnx")
    done = run("inspect", "m.onnx")
    assert (done.code, done.err) == (0, "")

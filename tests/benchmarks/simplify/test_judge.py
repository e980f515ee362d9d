"""The judge tells a right result from a wrong one, and counts what the others count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from tests.benchmarks.simplify.entries import entry
from tests.benchmarks.simplify.judge import count_nodes, judge, reference
from tests.build import parse

NAME = "lenet_5"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("judge") / "reference.pickle"
    found = reference(NAME, path)
    assert (found.status, found.inputs, found.nodes) == ("ok", 3, 8)
    return path


def changed(folder: Path, factor: float) -> Path:
    model = onnx.load(entry(NAME).path)
    weight = model.graph.initializer[0]
    array = numpy_helper.to_array(weight) * np.float32(factor)
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(model, folder / "changed.onnx")
    return folder / "changed.onnx"


def test_the_original_is_right(kept: Path) -> None:
    found = judge(entry(NAME).path, kept)
    assert (found.status, found.furthest, found.checker) == ("ok", 0.0, "")


@pytest.mark.parametrize("factor", [1.5, -1.0, float("nan")])
def test_another_weight_is_wrong(kept: Path, tmp_path: Path, factor: float) -> None:
    assert judge(changed(tmp_path, factor), kept).status == "wrong"


def test_rounding_is_right(kept: Path, tmp_path: Path) -> None:
    found = judge(changed(tmp_path, 1 + 1e-6), kept)
    assert found.status == "ok" and 0 < found.furthest < 1e-3


def test_what_does_not_load_is_told(kept: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    assert judge(path, kept).status == "noload"


def test_another_output_is_told(kept: Path, tmp_path: Path) -> None:
    model = onnx.load(entry(NAME).path)
    before = judge(entry(NAME).path, kept).signature
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "fixed.onnx")
    found = judge(tmp_path / "fixed.onnx", kept)
    assert found.signature != before and found.status == "norun"


def test_nodes_of_bodies_and_functions_count_and_constants_do_not() -> None:
    model: ModelProto = parse(
        """<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[N] x, bool c) => (float[N] y) {
          k = Constant <value = float {1.0}> ()
          s = If (c) <
            then_branch = t () => (float[N] a) { a = Relu(x) },
            else_branch = e () => (float[N] b) {
              n = Constant <value = float {1.0}> ()
              b = Add(x, n)
            }
          >
          y = local.twice(s)
        }
        <domain: "local", opset_import: ["": 17]>
        twice (v) => (r) { h = Add(v, v) r = Neg(h) }"""
    )
    assert count_nodes(model) == 6

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import graphopt
from graphopt.errors import UsageError
from models.fetch import fetch
from tests.build import parse

W = np.random.default_rng(0).standard_normal((4, 300)).astype(np.float32)
TEXT = "g (float[N,4] x) => (float[N,300] y) { t = Relu(x) y = MatMul(t, w) }"


@pytest.fixture
def proto() -> onnx.ModelProto:
    return parse(TEXT, w=W)


def test_convert_takes_what_load_takes(tmp_path: Path, proto: onnx.ModelProto) -> None:
    onnx.save(proto, tmp_path / "m.onnx")
    for source in (proto, tmp_path / "m.onnx", str(tmp_path / "m.onnx"), proto.SerializeToString()):
        result = graphopt.convert(source, fix_dims={"N": 2})
        assert isinstance(result, graphopt.ChangeResult)
        assert isinstance(result.report, graphopt.ChangeReport)
        assert result.report.inputs == ("x float32[2,4]",)
        assert result.report.status == "verified"


def test_every_option_reaches_the_engine(proto: onnx.ModelProto) -> None:
    said: list[str] = []
    result = graphopt.convert(
        proto, opset=18, fix_shapes={"x": (1, 4)}, dynamic_batch=True, inline_functions=True,
        external_data="inside", data=[{"x": np.ones((1, 4), np.float32)}], seed=3,
        progress=said.append,
    )  # fmt: skip
    assert result.report.changes == (
        "input x [N,4] -> [batch,4]", "output y [N,300] -> [batch,300]", "opset 17 -> 18",
    )  # fmt: skip
    assert result.report.seed == 3
    assert result.report.verification.generated is False
    assert "opening the batch" in said
    off = graphopt.convert(proto, opset=18, verify=False)
    assert off.report.status == "unverified"
    shaped = graphopt.convert(proto, opset=18, input_shapes={"x": (7, 4)})
    assert shaped.report.status == "verified"


def test_save_puts_weights_where_convert_was_told(tmp_path: Path, proto: onnx.ModelProto) -> None:
    result = graphopt.convert(proto, external_data=0)
    graphopt.save(result, tmp_path / "out.onnx")
    assert len([*tmp_path.glob("out.onnx.*.data")]) == 1
    graphopt.save(result, tmp_path / "whole.onnx", external_threshold=1 << 30)
    assert not [*tmp_path.glob("whole.onnx.*")]


def test_extract(tmp_path: Path, proto: onnx.ModelProto) -> None:
    result = graphopt.extract(proto, inputs=["t"], outputs=["y"])
    assert isinstance(result, graphopt.ChangeResult)
    assert (result.report.action, result.report.status) == ("extract", "verified")
    path = graphopt.save(result, tmp_path / "piece.onnx")
    assert [node.op_type for node in onnx.load(path).graph.node] == ["MatMul"]
    given: list[dict[str, Any]] = [{"x": np.ones((2, 4), np.float32)}]
    with_data = graphopt.extract(proto, outputs=["t"], data=given)
    assert with_data.report.verification.inputs == 1


@pytest.mark.parametrize("arguments", [{"outputs": "y"}, {"outputs": ["y"], "inputs": "t"}])
def test_a_text_for_a_list_is_a_mistake(proto: onnx.ModelProto, arguments: Any) -> None:
    with pytest.raises(UsageError, match="is a text"):
        graphopt.extract(proto, **arguments)


def test_a_batch_goes_through_fixing_optimising_and_opening_again() -> None:
    fixed = graphopt.convert(fetch("resnet_20"), fix_dims={"batch": 1})
    smaller = graphopt.optimize(fixed.model)
    again = graphopt.convert(smaller.model, dynamic_batch=True)
    assert again.report.status == "verified"
    assert again.report.inputs == ("image float32[batch,1,28,28]",)
    assert graphopt.compare(fetch("resnet_20"), again.model).status == "ok"

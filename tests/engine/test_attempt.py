from __future__ import annotations

from typing import Any

import pytest
from onnx import ModelProto

import graphopt
from graphopt.errors import ModelError
from tests.build import parse

GELU = """
    d = Div(x, root)
    e = Erf(d)
    a = Add(e, one)
    m = Mul(x, a)
    y = Mul(m, half)
"""
NUMBERS = "<float root = {1.4142135}, float one = {1.0}, float half = {0.5}>"


def model(nodes: str = GELU, opset: int = 17) -> ModelProto:
    head = f'<ir_version: 8, opset_import: ["" : {opset}]>'
    return parse(f"{head} g (float[N,8] x) => (float[N,8] y) {NUMBERS} {{ {nodes} }}")


def optimized(source: ModelProto, **options: Any) -> Any:
    return graphopt.optimize(source, passes=["fuse_gelu"], **options)


def opset(result: Any) -> int:
    return int(result.model.opsets[""])


def operators(result: Any) -> list[str]:
    return [node.op_type for node in result.model.proto.graph.node]


def test_auto_raises_the_opset_for_an_operator_that_needs_it() -> None:
    result = optimized(model(), opset="auto")
    assert result.report.status == "verified"
    assert (opset(result), operators(result)) == (20, ["Gelu"])


def test_without_it_the_opset_stays() -> None:
    result = optimized(model())
    assert (opset(result), result.report.changed) == (17, False)
    assert result.report.stages[0].passes[0].skipped == {"Gelu comes with opset 20": 1}


@pytest.mark.parametrize("nodes", ["y = Relu(x)", GELU.replace("Erf", "Tanh")])
def test_auto_leaves_the_opset_where_nothing_asks_for_another(nodes: str) -> None:
    result = optimized(model(nodes), opset="auto")
    assert (opset(result), result.report.changed) == (17, False)


def test_auto_gives_back_the_model_that_raising_does_not_make_smaller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from graphopt.passes.fuse.fuse_gelu import FuseGelu

    real = FuseGelu.match
    monkeypatch.setattr(
        FuseGelu,
        "match",
        lambda self, node, graph, context: (
            real(self, node, graph, context) if graph.opset() < 20 else None
        ),
    )
    result = optimized(model(), opset="auto")
    assert (opset(result), result.report.changed) == (17, False)


def test_auto_is_no_demand_where_the_model_cannot_be_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise ModelError("it cannot be raised")

    monkeypatch.setattr("graphopt.engine.attempt.raise_opset", refuse)
    assert opset(optimized(model(), opset="auto")) == 17
    with pytest.raises(ModelError, match="cannot be raised"):
        optimized(model(), opset=20)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from graphopt.contract import GraphView
from graphopt.errors import DataError
from graphopt.graph import annotate, build_program, graph_view
from graphopt.graph.extract import extract
from graphopt.model import Model
from graphopt.report import Verification
from graphopt.runtime import shared_runtime
from graphopt.verify import VerifyOptions
from graphopt.verify.extracted import measured_ranks, prove_piece
from tests.build import parse

W = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
CHAIN = """g (float[N,4] x, float[3] z) => (float[N,3] y) {
    a = Relu(x)
    t = MatMul(a, w)
    u = Add(t, z)
    y = Sigmoid(u)
}"""


def hints(model: ModelProto) -> GraphView:
    program = build_program(Model(model))
    annotate(program, model)
    return graph_view(program.main, program)


def proven(model: ModelProto, piece: ModelProto, **options: Any) -> Verification:
    return prove_piece(
        Model(model), Model(piece), hints(model), shared_runtime(), VerifyOptions(**options)
    )


def cut(model: ModelProto, inputs: Sequence[str] | None, outputs: Sequence[str]) -> ModelProto:
    return extract(Model(model), inputs, outputs).proto


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [(None, ["t"]), (["t", "z"], ["y"]), (["a"], ["t"]), (["a", "w"], ["t"]), (None, ["y", "a"])],
)
def test_a_piece_gives_equal_bits(inputs: list[str] | None, outputs: list[str]) -> None:
    model = parse(CHAIN, w=W)
    outcome = proven(model, cut(model, inputs, outputs))
    assert (outcome.status, outcome.method, outcome.inputs) == ("ok", "onnxruntime", 3)
    rows = [row for row in outcome.checks if row.what in outputs]
    assert [row.what for row in rows] == outputs
    assert all(row.tolerance == 0.0 for row in rows), "bits were asked for"


def test_a_wrong_piece_fails() -> None:
    model = parse(CHAIN, w=W)
    piece = cut(model, ["a"], ["t"])
    piece.graph.initializer[0].CopyFrom(numpy_helper.from_array(W * 1.01, "w"))
    outcome = proven(model, piece)
    assert outcome.status == "failed"
    assert outcome.failures()[0].what == "t"


def test_a_piece_that_differs_by_rounding_is_within_tolerance() -> None:
    model = parse(CHAIN, w=W)
    piece = cut(model, ["a"], ["t"])
    piece.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.nextafter(W, W + 1), "w"))
    outcome = proven(model, piece)
    assert outcome.status == "ok"
    assert outcome.checks[-1].tolerance == 1e-4


def test_a_piece_that_does_not_load_fails() -> None:
    model = parse(CHAIN, w=W)
    piece = cut(model, ["a"], ["t"])
    piece.graph.input[0].CopyFrom(helper.make_tensor_value_info("a", 1, ["N", 5]))
    outcome = proven(model, piece)
    assert outcome.status == "failed"


def test_a_constant_output_needs_not_vary() -> None:
    model = parse(
        """g (float[2,3] x) => (float[A,B] y) {
        s = Shape(x)
        c = Cast <to = 1> (s)
        y = Mul(x, c)
    }""".replace("y = Mul(x, c)", "k = ReduceSum(c) y = Mul(x, k)")
    )
    assert proven(model, cut(model, None, ["k"])).status == "ok"


def test_random_pieces_are_not_verified() -> None:
    model = parse("""g (float[2] x) => (float[2] y, float[2] z) {
        first = RandomNormalLike(x)
        r = RandomNormalLike(x)
        y = Add(x, r)
        z = Add(x, first)
    }""")
    outcome = proven(model, cut(model, None, ["y"]))
    assert outcome.status == "not verified"
    assert outcome.checks[-1].detail == "differs from run to run in the original"
    assert proven(model, cut(model, ["r", "x"], ["y"])).status == "ok", (
        "what is random was recorded"
    )


def test_pieces_with_bodies() -> None:
    model = parse("""g (float[2] x, bool c) => (float[2] y) {
        t = Neg(x)
        y = If (c) <then_branch = a () => (float[2] p) { p = Abs(t) },
                    else_branch = b () => (float[2] q) { q = Identity(t) }>
    }""")
    assert proven(model, cut(model, ["t", "c"], ["y"])).status == "ok"


def test_data_is_of_the_whole_model() -> None:
    model = parse(CHAIN, w=W)
    piece = cut(model, ["t", "z"], ["y"])
    feeds = {"x": np.ones((2, 4), np.float32), "z": np.zeros(3, np.float32)}
    outcome = proven(model, piece, data=[feeds])
    assert (outcome.status, outcome.inputs, outcome.generated) == ("ok", 1, False)
    with pytest.raises(DataError):
        proven(model, piece, data=[{"x": np.ones((2, 5), np.float32), "z": feeds["z"]}])


def test_too_large_a_model_is_not_run() -> None:
    model = parse(CHAIN, w=W)
    outcome = proven(model, cut(model, ["a"], ["t"]), limit=10)
    assert (outcome.status, outcome.method) == ("not verified", "none")


def test_a_model_that_does_not_run_is_not_verified() -> None:
    model = parse("""g (float[1,3] x) => (float[1,7] y) { t = Relu(x) y = Reshape(t, s) }""",
                  s=np.array([1, 7]))  # fmt: skip
    outcome = proven(model, cut(model, None, ["t"]))
    assert (outcome.status, outcome.method) == ("not verified", "none")
    assert "does not run" in outcome.note


def test_a_whole_that_does_not_show_a_tensor_is_not_verified() -> None:
    model = parse(CHAIN, w=W)
    piece = cut(model, None, ["t"])
    for node in piece.graph.node:
        node.output[:] = ["elsewhere" if name == "t" else name for name in node.output]
    piece.graph.output[0].name = "elsewhere"
    outcome = proven(model, piece)
    assert outcome.status == "not verified"
    assert "does not run with inner outputs" in outcome.note


def test_ranks_are_measured() -> None:
    model = parse("""g (float[2,3] x, float[3] z) => (float[A,B] y) {
        t = Relu(x)
        r = Add(t, z)
        y = Neg(r)
    }""")
    options = VerifyOptions()
    view = hints(model)
    found = measured_ranks(Model(model), ["t", "r"], view, shared_runtime(), options)
    assert found == {"t": 2, "r": 2}
    none = measured_ranks(Model(model), ["nowhere"], view, shared_runtime(), options)
    assert none == {}
    large = parse(CHAIN, w=W)
    limited = VerifyOptions(limit=10)
    assert measured_ranks(Model(large), ["t"], hints(large), shared_runtime(), limited) == {}

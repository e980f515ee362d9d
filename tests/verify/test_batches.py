from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from graphopt.errors import DataError
from graphopt.graph import annotate, build_program, graph_view
from graphopt.graph.dynamic_batch import Batched, open_batch
from graphopt.model import Model
from graphopt.report import Verification
from graphopt.runtime import shared_runtime
from graphopt.verify import VerifyOptions
from graphopt.verify.batches import prove_batches
from tests.build import parse

W = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)


def proven(model: ModelProto, result: ModelProto | None = None, **options: Any) -> Verification:
    """Prove the opened model, or another in its place."""
    original = Model(model)
    batched = open_batch(original)
    if result is not None:
        batched = Batched(Model(result), batched.size, batched.symbol, batched.inputs)
    program = build_program(original)
    annotate(program, model)
    view = graph_view(program.main, program)
    return prove_batches(original, batched, view, shared_runtime(), VerifyOptions(**options))


def said(outcome: Verification) -> str:
    (row,) = [row for row in outcome.checks if row.status != "ok"]
    return f"{row.what}: {row.status}: {row.detail}"


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_model_that_treats_rows_alike_is_ok(size: int) -> None:
    model = parse(f"g (float[{size},6] x) => (float[{size},5] y) {{ y = MatMul(x, w) }}", w=W)
    outcome = proven(model)
    assert (outcome.status, outcome.method) == ("ok", "onnxruntime")
    assert outcome.inputs == {1: 3, 2: 3, 5: 5}[size]
    assert [row.what for row in outcome.checks] == ["checker", "inference", "y"]


def test_rows_that_are_merged_with_the_batch_follow_it() -> None:
    model = parse("g (float[2,3,6] x) => (float[6,6] y) { y = Reshape(x, s) }", s=np.array([6, 6]))
    assert proven(model).status == "ok"


def test_an_output_that_mixes_the_rows_fails() -> None:
    model = parse(
        "g (float[2,6] x) => (float[2,6] y) { m = ReduceMean <axes=[0]> (x) y = Sub(x, m) }"
    )
    outcome = proven(model)
    assert outcome.status == "failed"
    assert "the model bakes its batch of 2 in" in said(outcome)


def test_an_output_that_has_no_batch_fails_by_name() -> None:
    model = parse(
        """g (float[1,6] x) => (float[6] m, float[1,6] y) {
        m = ReduceMean <axes = [0], keepdims = 0> (x)
        y = Neg(x)
    }"""
    )
    outcome = proven(model)
    assert said(outcome).startswith("m: failed: ")


def test_a_result_that_knows_the_first_row_only_fails() -> None:
    model = parse(
        "g (float[1,6] x) => (float[1,6] y) { y = Gather <axis = 0> (x, i) }", i=np.array([0])
    )
    assert said(proven(model)).startswith(
        "y: failed: does not follow the batch: its shapes are (1, 6)"
    )


def test_a_result_that_does_not_run_fails_with_the_reason() -> None:
    model = parse(
        "g (float[2,6] x) => (float[2,6] y) { y = Gather <axis = 0> (x, i) }", i=np.array([0, 1])
    )
    text = said(proven(model))
    assert text.startswith("batch: failed: does not run at batch 1: ")
    assert text.endswith("; the model bakes its batch of 2 in")


def test_a_wrong_result_fails() -> None:
    text = "g (float[{},6] x) => (float[{},5] y) {{ y = MatMul(x, w) }}"
    model = parse(text.format(1, 1), w=W)
    other = parse(text.format("batch", "batch"), w=W * 1.01)
    assert said(proven(model, other)).startswith("y: failed: differs by 0.01")


def test_what_is_declared_in_dimension_0_must_be_so() -> None:
    text = "g (float[{},6] x) => (float[{},5] y) {{ y = MatMul(x, w) }}"
    other = parse(text.format("batch", "3"), w=W)
    outcome = proven(parse(text.format(1, 1), w=W), other)
    assert outcome.status == "failed"


def test_unbatched_inputs_are_the_same_for_every_piece() -> None:
    model = parse("g (float[1,6] x, float s) => (float[1,6] y) { y = Mul(x, s) }")
    assert proven(model).status == "ok"


def test_data_is_at_the_models_own_batch() -> None:
    model = parse("g (float[2,6] x) => (float[2,5] y) { y = MatMul(x, w) }", w=W)
    sets = [{"x": np.full((2, 6), value, np.float32)} for value in (1.0, 2.0)]
    outcome = proven(model, data=sets)
    assert (outcome.status, outcome.generated) == ("ok", False)
    with pytest.raises(DataError, match="does not run on the data"):
        proven(model, data=[{"x": np.ones((3, 6), np.float32)}])


def test_open_models_are_run_at_piece_1() -> None:
    model = parse("g (float[N,6] x) => (float[N,5] y) { y = MatMul(x, w) }", w=W)
    assert proven(model).status == "ok"
    mixed = parse(
        "g (float[N,6] x) => (float[N,6] y) { m = ReduceMean <axes=[0]> (x) y = Sub(x, m) }"
    )
    assert "y: failed" in said(proven(mixed))


def test_random_outputs_are_not_verified() -> None:
    model = parse("g (float[1,6] x) => (float[1,6] y) { r = RandomNormalLike(x) y = Add(x, r) }")
    outcome = proven(model)
    assert outcome.status == "not verified"


def test_too_large_a_model_is_not_run() -> None:
    model = parse("g (float[1,6] x) => (float[1,5] y) { y = MatMul(x, w) }", w=W)
    outcome = proven(model, limit=10)
    assert (outcome.status, outcome.method) == ("not verified", "none")
    assert "weights exceed" in outcome.note


def test_a_model_that_does_not_run_at_all_is_not_verified() -> None:
    model = parse(
        """g (float[1,3] x) => (float[1,A] y) { y = Reshape(x, s) }""", s=np.array([1, 7])
    )
    outcome = proven(model)
    assert (outcome.status, outcome.method) == ("not verified", "none")
    assert "does not run on generated inputs" in outcome.note


def test_the_checker_speaks_first() -> None:
    model = parse("g (float[1,6] x) => (float[1,5] y) { y = MatMul(x, w) }", w=W)
    broken = ModelProto()
    broken.CopyFrom(model)
    broken.graph.node[0].op_type = "MatMull"
    outcome = proven(model, broken)
    assert (outcome.status, outcome.method) == ("failed", "none")


def test_recurrent_layers_run_over_any_batch() -> None:
    rng = np.random.default_rng(1)
    model = parse(
        """g (float[1,5,3] x) => (float[1,5,2] y) {
        t = Transpose <perm = [1, 0, 2]> (x)
        out = LSTM <hidden_size = 2> (t, w, r, , , zero, zero)
        u = Squeeze(out, axes)
        y = Transpose <perm = [1, 0, 2]> (u)
    }""",
        w=rng.standard_normal((1, 8, 3)).astype(np.float32),
        r=rng.standard_normal((1, 8, 2)).astype(np.float32),
        zero=np.zeros((1, 1, 2), np.float32), axes=np.array([1]),
    )  # fmt: skip
    assert proven(model).status == "ok"


def test_the_original_is_left_as_it_is() -> None:
    model = parse("g (float[1,6] x) => (float[1,5] y) { y = MatMul(x, w) }", w=W)
    before = model.SerializeToString(deterministic=True)
    proven(model)
    assert model.SerializeToString(deterministic=True) == before
    assert numpy_helper.to_array(model.graph.initializer[0]).tolist() == W.tolist()
    onnx.checker.check_model(model)

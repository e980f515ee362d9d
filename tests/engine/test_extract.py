from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt.engine.changing import ProofOptions
from graphopt.engine.extract import extract_model
from graphopt.errors import DataError, ModelError
from graphopt.graph.declared import dims_of
from graphopt.model import Model
from graphopt.verify.data import check_data
from tests.build import parse

W = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
TEXT = "g (float[N,4] x) => (float[N,3] y) { t = Relu(x) u = MatMul(t, w) y = Neg(u) }"

BRANCHES = """g (float[N] x, bool c) => (float[A,B] y) {
    t = If (c) <then_branch = a () => (float[K] p) { p = Unsqueeze(x, zero) },
                else_branch = b () => (float[L] q) { q = Unsqueeze(x, {other}) }>
    y = Neg(t)
}"""


def branches(other: str) -> Model:
    """An If of whose result inference does not tell the rank."""
    text = BRANCHES.replace("{other}", other)
    proto = parse(text, zero=np.array([0]), both=np.array([0, 1]))
    for attribute in proto.graph.node[0].attribute:
        attribute.g.output[0].type.tensor_type.ClearField("shape")
    if other == "zero":
        # Two ranks for inference, one at run time: both branches are the same.
        proto.graph.node[0].attribute[1].g.node[0].input[1] = "chosen"
        proto.graph.node.insert(0, onnx.helper.make_node("Identity", ["zero"], ["chosen"]))
    return Model(proto)


def test_a_piece_is_cut_and_proven() -> None:
    result = extract_model(Model(parse(TEXT, w=W)), ["t"], ["u"])
    report = result.report
    assert (report.action, report.status) == ("extract", "verified")
    assert report.changes == (
        "inputs: t float32[N,4]", "outputs: u float32[N,3]",
        "1 of 3 nodes, 48 of 48 bytes of weights",
    )  # fmt: skip
    assert (report.inputs, report.outputs) == (("t float32[N,4]",), ("u float32[N,3]",))


def test_data_is_of_the_whole() -> None:
    feeds = [{"x": np.ones((2, 4), np.float32)}]
    options = ProofOptions(data=lambda specs: check_data(feeds, specs))
    result = extract_model(Model(parse(TEXT, w=W)), ["t"], ["u"], options)
    assert result.report.verification.generated is False
    feeds[0] = {"t": feeds[0]["x"]}
    with pytest.raises(DataError, match="'t' is no input"):
        extract_model(Model(parse(TEXT, w=W)), ["t"], ["u"], options)


def test_a_rank_that_inference_does_not_know_is_measured() -> None:
    result = extract_model(branches("zero"), ["t"], ["y"])
    assert result.report.status == "verified"
    assert dims_of(result.model.proto.graph.input[0].type) == (None, None)


def test_ranks_that_differ_from_run_to_run_are_refused() -> None:
    with pytest.raises(ModelError, match="the rank of 't' is not known"):
        extract_model(branches("both"), ["t"], ["y"])


def test_without_verification_it_is_loaded_at_least() -> None:
    options = ProofOptions(verify=False)
    result = extract_model(Model(parse(TEXT, w=W)), ["t"], ["u"], options)
    assert result.report.status == "unverified"
    assert result.report.verification.note == "verification was switched off; it loads"


def test_a_piece_of_a_model_above_the_limit_is_unverified() -> None:
    result = extract_model(Model(parse(TEXT, w=W)), ["t"], ["u"], ProofOptions(limit=10))
    assert result.report.status == "unverified"
    assert "weights exceed" in result.report.verification.note

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper

from graphopt.engine.changing import ChangeResult, ProofOptions
from graphopt.engine.conversion import Conversion, Steps, apply
from graphopt.engine.convert import check_signature, convert_model
from graphopt.errors import DataError, UsageError
from graphopt.graph.declared import dims_of, set_dims
from graphopt.model import Model, load_model, save_model
from graphopt.verify.data import check_data
from tests.build import external_tensor, parse

W = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
TEXT = """g (float[N,4] x) => (float[N,3] y) { t = Relu(x) y = MatMul(t, w) }"""


def model() -> Model:
    return Model(parse(TEXT, w=W))


def converted(source: Model, options: ProofOptions | None = None, **wanted: Any) -> ChangeResult:
    return convert_model(source, Conversion(**wanted), options)


def said(result: ChangeResult) -> str:
    rows = [row for row in result.report.verification.checks if row.status != "ok"]
    return "; ".join(f"{row.what}: {row.status}: {row.detail}" for row in rows)


def test_a_fixed_size_is_proven_at_that_size() -> None:
    result = converted(model(), dims={"N": 2})
    report = result.report
    assert (report.status, report.action, report.changed) == ("verified", "convert", True)
    assert report.changes == ("input x [N,4] -> [2,4]", "output y [N,3] -> [2,3]")
    assert report.inputs == ("x float32[2,4]",)
    outcome = report.verification
    assert (outcome.method, outcome.inputs) == ("onnxruntime", 3)
    assert [row.what for row in outcome.checks] == ["signature", "checker", "inference", "y"]
    onnx.checker.check_model(result.model.proto, full_check=True)


def test_the_result_runs_at_the_fixed_size_only() -> None:
    feeds = [{"x": np.ones((3, 4), np.float32)}]
    options = ProofOptions(data=lambda specs: check_data(feeds, specs))
    assert converted(model(), options, dims={"N": 3}).report.status == "verified"
    with pytest.raises(DataError, match="has shape"):
        converted(model(), options, dims={"N": 2})


def test_a_model_that_does_not_run_at_that_size_fails_with_the_reason() -> None:
    text = "g (float[N,6] x) => (float[A,8] y) { y = Reshape(x, s) }"
    result = converted(Model(parse(text, s=np.array([-1, 12]))), dims={"N": 3})
    assert result.report.status == "failed"
    assert "sizes: failed: the model does not run at the sizes asked for: " in said(result)


def test_a_model_that_runs_at_no_size_is_unverified() -> None:
    text = "g (float[N,3] x) => (float[A,B] y) { y = Reshape(x, s) }"
    result = converted(Model(parse(text, s=np.array([7, 10007]))), dims={"N": 3})
    assert result.report.status == "unverified"


def test_an_output_that_nothing_infers_is_corrected_by_what_runs() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
    g (float[N,4] x) => (float[1,4] y) { y = com.microsoft.QuickGelu(x) }"""
    result = converted(Model(parse(text)), dims={"N": 2})
    assert result.report.status == "verified"
    assert dims_of(result.model.proto.graph.output[0].type) == (None, 4)
    assert "output y [1,4] -> [?,4]" in result.report.changes


def test_the_opset_is_raised_and_proven() -> None:
    source = Model(
        parse("""<ir_version: 6, opset_import: ["": 11]>
        g (float[2,3] x) => (float[2,3] y) { y = Softmax <axis = 0> (x) }""")
    )
    result = converted(source, opset=17)
    assert result.report.changes == ("opset 11 -> 17",)
    assert result.report.status == "verified"


def test_functions_are_inlined_and_proven() -> None:
    source = Model(
        parse("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[2] x) => (float[2] y) { y = local.f(x) }
        <domain: "local", opset_import: ["": 17]> f (v) => (r) { r = Neg(v) }""")
    )
    result = converted(source, inline_functions=True)
    assert result.report.changes == ("local functions inlined: 1",)
    assert result.report.status == "verified"
    assert not result.model.proto.functions


def test_the_batch_is_opened_and_proven_at_several() -> None:
    source = Model(parse(TEXT.replace("N", "1"), w=W))
    result = converted(source, dynamic_batch=True)
    assert result.report.status == "verified"
    assert result.report.inputs == ("x float32[batch,4]",)
    assert result.report.verification.inputs == 3


def test_a_batch_that_is_baked_in_fails_and_says_so() -> None:
    text = "g (float[2,4] x) => (float[2,4] y) { m = ReduceMean <axes=[0]> (x) y = Sub(x, m) }"
    result = converted(Model(parse(text)), dynamic_batch=True)
    assert result.report.status == "failed"
    assert said(result).startswith("y: failed: ")
    assert "the model bakes its batch of 2 in" in said(result)


def test_a_fixed_shape_with_an_open_batch() -> None:
    result = converted(model(), shapes={"x": (1, 4)}, dynamic_batch=True)
    assert result.report.status == "verified"
    assert result.report.changes == ("input x [N,4] -> [batch,4]", "output y [N,3] -> [batch,3]")


def test_weights_are_proven_where_they_will_lie() -> None:
    wide = np.ones((4, 300), np.float32)
    source = Model(parse(TEXT.replace("3]", "300]"), w=wide))
    result = converted(source, external=0)
    assert result.external_threshold == 129
    assert result.report.status == "verified"
    assert result.report.changes == ("tensors that go to a file beside the model: 1",)


def test_an_output_that_says_nothing_is_settled_wherever_the_weights_lie() -> None:
    source = Model(parse(TEXT.replace("3]", "300]"), w=np.zeros((4, 300), np.float32)))
    assert converted(source, external=0).report.status == "verified"


def test_weights_that_onnxruntime_does_not_find_outside_are_a_failure() -> None:
    # Not even a shape as long as this one may lie outside: it is read while the model loads.
    ones = np.ones(40, np.int64)
    text = "g (float[1] x) => (float[A] y) { t = Reshape(x, s) y = Reshape(t, f) }"
    source = Model(parse(text, s=ones, f=np.array([-1])))
    assert converted(source, dims={}, opset=18).report.status == "verified"
    result = converted(source, external=0)
    assert result.report.status == "failed"
    assert said(result).startswith("runs: failed: ")


def test_external_weights_are_not_read_where_nothing_runs(tmp_path: Path) -> None:
    proto = parse(TEXT)
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    proto.graph.initializer.append(external_tensor("w", "w.bin", W))
    onnx.save(proto, tmp_path / "m.onnx")
    source = load_model(tmp_path / "m.onnx")
    wanted = Conversion(dims={"N": 2}, dynamic_batch=True, inline_functions=True)
    steps = apply(source, wanted, lambda what: None)
    assert source.files is not None
    assert source.files.bytes_read == 0
    assert steps.result.files is source.files


def test_a_model_above_the_limit_is_compared_where_it_changed() -> None:
    small = ProofOptions(limit=10)
    fixed = converted(model(), small, dims={"N": 2})
    assert (fixed.report.status, fixed.report.verification.method) == ("verified", "layer-wise")
    raised = converted(model(), small, opset=18)
    assert raised.report.status == "unverified"
    assert "2 changed regions" in raised.report.verification.note
    opened = converted(Model(parse(TEXT.replace("N", "1"), w=W)), small, dynamic_batch=True)
    assert opened.report.status == "unverified"


def test_without_verification_it_is_loaded_at_least() -> None:
    result = converted(model(), ProofOptions(verify=False), dims={"N": 2})
    assert result.report.status == "unverified"
    assert result.report.verification.note == "verification was switched off; it loads"


def test_a_model_that_is_as_asked_for_is_given_back() -> None:
    source = model()
    result = converted(source, opset=17)
    assert result.model is source
    assert result.report.changed is False
    assert result.report.status == "verified"


def test_nothing_asked_for_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="nothing to convert"):
        converted(model())


def test_the_given_model_is_not_changed() -> None:
    source = model()
    before = source.proto.SerializeToString(deterministic=True)
    converted(source, dims={"N": 2}, opset=18, dynamic_batch=True, external=0)
    assert source.proto.SerializeToString(deterministic=True) == before


def test_the_same_request_gives_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for number in range(2):
        result = converted(model(), opset=18, dims={"N": 1}, dynamic_batch=True)
        path = save_model(result.model, tmp_path / f"{number}.onnx")
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def tampered(change: Any, wanted: Conversion) -> str:
    """What the check of signatures says once a result was changed beyond what was asked for."""
    before = model()
    steps = apply(before, wanted, lambda what: None)
    proto = ModelProto()
    proto.CopyFrom(steps.result.proto)
    change(proto.graph)
    other = Steps(before.with_proto(proto), steps.closed, steps.batched)
    row = check_signature(before.proto, other, wanted)
    return f"{row.status}: {row.detail}"


FIX = Conversion(dims={"N": 2})


@pytest.mark.parametrize(
    ("change", "wanted", "found"),
    [
        (lambda g: None, FIX, "ok: "),
        (lambda g: set_dims(g.input[0].type, [3, 4]), FIX, "failed: input x is [3,4], not [2,4]"),
        (lambda g: set_dims(g.input[0].type, [2, 5]), FIX, "failed: input x is [2,5], not [2,4]"),
        (lambda g: set_dims(g.output[0].type, ["M", 3]), FIX,
         "failed: output y became [M,3], was [N,3]"),
        (lambda g: setattr(g.output[0], "name", "z"), FIX, "failed: "),
        (lambda g: g.input.append(helper.make_tensor_value_info("k", 1, [2])), FIX, "failed: "),
        (lambda g: setattr(g.input[0].type.tensor_type, "elem_type", 10), FIX,
         "failed: inputs changed: x"),
        (lambda g: set_dims(g.output[0].type, [2, 3]), Conversion(opset=18),
         "failed: output y became [2,3], was [N,3]"),
        (lambda g: set_dims(g.input[0].type, [2, 4]), Conversion(opset=18), "failed: input x is"),
    ],
)  # fmt: skip
def test_exactly_what_was_asked_for_may_change(change: Any, wanted: Conversion, found: str) -> None:
    assert tampered(change, wanted).startswith(found)


def test_an_open_batch_may_change_dimension_0_alone() -> None:
    wanted = Conversion(shapes={"x": (1, 4)}, dynamic_batch=True)
    assert tampered(lambda g: None, wanted) == "ok: "
    wrong = tampered(lambda g: set_dims(g.input[0].type, [1, 4]), wanted)
    assert wrong == "failed: input x is [1,4], not [batch,4]"
    opening = Conversion(dynamic_batch=True)
    other = tampered(lambda g: set_dims(g.output[0].type, ["N", "batch"]), opening)
    assert other == "failed: output y became [N,batch], was [N,3]"


def test_a_lost_default_is_seen() -> None:
    before = Model(parse("g (float[2] x, float[2] w) => (float[2] y) { y = Add(x, w) }",
                         w=W[0, :2]))  # fmt: skip
    proto = ModelProto()
    proto.CopyFrom(before.proto)
    del proto.graph.initializer[:]
    steps = Steps(before.with_proto(proto), before)
    row = check_signature(before.proto, steps, Conversion(opset=18))
    assert (row.status, row.detail) == ("failed", "input w lost its default")

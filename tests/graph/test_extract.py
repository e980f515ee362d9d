from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from graphopt.errors import ModelError, UsageError
from graphopt.graph.declared import dims_of
from graphopt.graph.extract import borders_without_rank, extract, with_ranks
from graphopt.model import Model
from tests.build import few, parse

W = np.arange(12, dtype=np.float32).reshape(4, 3)
CHAIN = """g (float[N,4] x, float[3] z) => (float[N,3] y) <float[N,3] t> {
    a = Relu(x)
    t = MatMul(a, w)
    u = Add(t, z)
    v = Mul(t, t)
    y = Sub(u, v)
}"""


def piece(model: ModelProto, inputs: Sequence[str] | None, outputs: Sequence[str]) -> ModelProto:
    found = extract(Model(model), inputs, outputs).proto
    onnx.checker.check_model(found, full_check=True)
    return found


def border(model: ModelProto, side: str) -> list[str]:
    return [info.name for info in getattr(model.graph, side)]


def ops(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_between_two_tensors() -> None:
    found = piece(parse(CHAIN, w=W), ["t", "z"], ["u"])
    assert ops(found) == ["Add"]
    assert border(found, "input") == ["t", "z"]
    assert border(found, "output") == ["u"]
    assert [dims_of(info.type) for info in found.graph.input] == [("N", 3), (3,)]
    assert dims_of(found.graph.output[0].type) == ("N", 3)
    assert not found.graph.initializer


def test_inputs_that_are_needed_are_the_default() -> None:
    model = parse(CHAIN, w=W, unused=W)
    found = piece(model, None, ["v"])
    assert (border(found, "input"), ops(found)) == (["x"], ["Relu", "MatMul", "Mul"])
    assert [tensor.name for tensor in found.graph.initializer] == ["w"]
    assert border(found, "value_info") == ["t"]
    assert len(model.graph.node) == 5, "the given model is not changed"


def test_the_order_is_as_asked() -> None:
    found = piece(parse(CHAIN, w=W), ["z", "t"], ["v", "u"])
    assert border(found, "input") == ["z", "t"]
    assert border(found, "output") == ["v", "u"]


NAMES = ["a", "t", "u", "v", "y"]


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
@few
def test_any_tensors_have_the_values_that_they_have_in_the_whole(outputs: list[str]) -> None:
    model = parse(CHAIN, w=W)
    rng = np.random.default_rng(0)
    feeds = {"x": rng.standard_normal((2, 4), np.float32), "z": rng.standard_normal(3, np.float32)}
    whole = ModelProto()
    whole.CopyFrom(model)
    del whole.graph.output[:]
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in NAMES)
    values = dict(zip(NAMES, ReferenceEvaluator(whole).run(None, feeds), strict=True))
    found = piece(model, None, outputs)
    own = {name: feeds[name] for name in border(found, "input")}
    results = ReferenceEvaluator(found).run(None, own)
    for name, value in zip(outputs, results, strict=True):
        np.testing.assert_array_equal(value, values[name])


def test_a_weight_may_be_an_input() -> None:
    found = piece(parse(CHAIN, w=W), ["a", "w"], ["t"])
    assert border(found, "input") == ["a", "w"]
    assert dims_of(found.graph.input[1].type) == (4, 3)
    assert not found.graph.initializer


def test_a_node_that_gives_more_than_what_is_given_stays() -> None:
    model = parse(
        """g (float[N,4] x) => (float[N,2] y) {
        a, b = Split <axis = 1> (x)
        a_unused = Relu(a)
        y = Add(a_unused, b)
    }"""
    )
    found = piece(model, ["a", "x"], ["y"])
    assert [list(node.output) for node in found.graph.node[:1]] == [["a_unused_1", "b"]]
    assert list(found.graph.node[1].input) == ["a"]


def test_captures_of_bodies_are_followed() -> None:
    model = parse(
        """g (float[2] x, bool c) => (float[2] y) {
        t = Neg(x)
        u = Abs(x)
        s = If (c) <then_branch = a () => (float[2] p) { p = Add(t, w) },
                    else_branch = b () => (float[2] q) { q = Identity(t) }>
        y = Add(s, u)
    }""",
        w=W[0, :2],
    )
    found = piece(model, None, ["s"])
    assert ops(found) == ["Neg", "If"]
    assert [tensor.name for tensor in found.graph.initializer] == ["w"]
    assert border(piece(model, ["t", "c"], ["s"]), "input") == ["t", "c"]


def test_functions_are_kept_where_they_are_called() -> None:
    model = parse("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[2] x) => (float[2] y) { t = local.f(x) y = local.h(t) }
        <domain: "local", opset_import: ["": 17, "local": 1]> f (v) => (r) { r = local.k(v) }
        <domain: "local", opset_import: ["": 17]> k (v) => (r) { r = Neg(v) }
        <domain: "local", opset_import: ["": 17]> h (v) => (r) { r = Abs(v) }""")
    assert [f.name for f in piece(model, None, ["t"]).functions] == ["f", "k"]
    assert [f.name for f in piece(model, ["t"], ["y"]).functions] == ["h"]


def test_a_default_stays_a_default() -> None:
    model = parse(CHAIN, w=W, z=np.ones(3, np.float32))
    found = piece(model, ["t"], ["u"])
    assert border(found, "input") == ["t", "z"]
    assert [tensor.name for tensor in found.graph.initializer] == ["z"]
    assert border(piece(model, ["t", "z"], ["u"]), "input") == ["t", "z"]
    assert not piece(model, ["t", "z"], ["u"]).graph.initializer


def test_metadata_stays_and_training_goes() -> None:
    model = parse(CHAIN, w=W)
    model.metadata_props.add(key="author", value="vendor")
    model.training_info.add().initialization.name = "init"
    found = piece(model, None, ["t"])
    assert found.metadata_props == model.metadata_props
    assert not found.training_info


def test_annotations_bring_what_they_name() -> None:
    model = parse(CHAIN, w=W, scale=np.ones(1, np.float32))
    for name in ("t", "y"):
        note = model.graph.quantization_annotation.add(tensor_name=name)
        note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    found = piece(model, None, ["t"])
    assert [note.tensor_name for note in found.graph.quantization_annotation] == ["t"]
    assert [tensor.name for tensor in found.graph.initializer] == ["w", "scale"]


def test_sparse_weights_are_kept_and_given() -> None:
    model = parse(CHAIN)
    sparse = model.graph.sparse_initializer.add(dims=[4, 3])
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([0, 5])))
    found = extract(Model(model), None, ["t"]).proto
    assert [s.values.name for s in found.graph.sparse_initializer] == ["w"]
    given = extract(Model(model), ["a", "w"], ["t"]).proto
    assert not given.graph.sparse_initializer
    assert dims_of(given.graph.input[1].type) == (4, 3)


BODY = """g (float[2] x, bool c) => (float[2] y) {
    y = If (c) <then_branch = a () => (float[2] p) { inner = Neg(x) p = Abs(inner) },
                else_branch = b () => (float[2] q) { q = Identity(x) }>
}"""


@pytest.mark.parametrize(
    ("inputs", "outputs", "message", "hint"),
    [
        (None, ["tt"], "there is no tensor 'tt'", "did you mean 't'?"),
        (["aa"], ["y"], "there is no tensor 'aa'", "did you mean 'a'?"),
        (["t"], ["u"], "output 'u' needs input 'z' too", "name it among the inputs: t,z"),
        (["u"], ["t"], "output 't' needs input 'x' too", "name it among the inputs: u,x"),
        (["a", "z"], ["v"], "no output depends on input 'z'", "leave it out"),
        (["t"], ["t"], "'t' is both input and output: nothing would be computed", None),
        (["t", "t"], ["u"], "input 't' is named twice", None),
        (None, ["u", "u"], "output 'u' is named twice", None),
        (None, ["x"], "output 'x' is an input of the model: nothing would be computed", None),
        (None, ["w"], "output 'w' is a stored constant: nothing would be computed", None),
        (None, [], "no output is named", None),
    ],
)  # fmt: skip
def test_refusals(
    inputs: list[str] | None, outputs: list[str], message: str, hint: str | None
) -> None:
    with pytest.raises(UsageError) as caught:
        extract(Model(parse(CHAIN, w=W)), inputs, outputs)
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize("inputs", [None, ["inner"]])
def test_tensors_of_bodies_are_refused(inputs: list[str] | None) -> None:
    side = "output" if inputs is None else "input"
    message = f"{side} 'inner' is inside the body 'then_branch' of the If node 'y'"
    with pytest.raises(UsageError, match=message):
        extract(Model(parse(BODY)), inputs, ["inner"] if inputs is None else ["y"])


def test_tensors_of_functions_are_refused() -> None:
    model = parse("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[2] x) => (float[2] y) { y = local.f(x) }
        <domain: "local", opset_import: ["": 17]> f (v) => (r) { k = Neg(v) r = Abs(k) }""")
    with pytest.raises(UsageError, match="is inside the function local::f"):
        extract(Model(model), None, ["k"])


UNKNOWN = """<ir_version: 8, opset_import: ["": 17, "my": 1]>
g (float[2] x) => (float[2] y) { t = my.Unknown(x) y = Relu(t) }"""


@pytest.mark.parametrize(("inputs", "outputs"), [(["t"], ["y"]), (None, ["t"])])
def test_unknown_types_are_refused(inputs: list[str] | None, outputs: list[str]) -> None:
    model = parse(UNKNOWN)
    side = "input" if inputs else "output"
    with pytest.raises(ModelError, match=f"the type of {side} 't' is not known"):
        extract(Model(model), inputs, outputs)
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("t", 1, ["K"]))
    found = extract(Model(model), inputs, outputs).proto
    infos = found.graph.input if inputs else found.graph.output
    assert dims_of(infos[0].type) == ("K",)


def test_unknown_ranks_are_told_and_may_be_filled_in() -> None:
    model = parse(UNKNOWN)
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("t", 1, None))
    found = extract(Model(model), None, ["t"])
    assert borders_without_rank(found) == ["t"]
    filled = with_ranks(found, {"t": 2})
    assert borders_without_rank(filled) == []
    assert dims_of(filled.proto.graph.output[0].type) == (None, None)


def test_sizes_that_only_inference_names_are_left_open() -> None:
    model = parse("""g (float[N] x) => (int64[1,M] y) { t = NonZero(x) y = Neg(t) }""")
    found = piece(model, ["t"], ["y"])
    assert dims_of(found.graph.input[0].type) == (1, None)

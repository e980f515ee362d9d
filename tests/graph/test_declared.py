from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TypeProto, helper

from graphopt.contract import Dim
from graphopt.graph.declared import (
    dims_of,
    inferred_dims,
    inferred_graph,
    refresh,
    set_dims,
    tensor_types,
    value_types,
)
from tests.build import few, parse

DIMS = st.one_of(st.none(), st.integers(1, 9), st.sampled_from(["N", "seq", "p2o.0"]))


@given(st.lists(DIMS, max_size=4), st.lists(DIMS, max_size=4))
@few
def test_dimensions_that_are_set_are_read_back(first: list[Dim], second: list[Dim]) -> None:
    kind = helper.make_tensor_type_proto(1, None)
    assert dims_of(kind) is None
    for dims in (first, second):
        set_dims(kind, dims)
        assert dims_of(kind) == tuple(dims)


def test_dimensions_that_stay_keep_their_notes() -> None:
    kind = helper.make_tensor_type_proto(1, ["N", 3])
    kind.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    set_dims(kind, ["N", 4])
    assert kind.tensor_type.shape.dim[0].denotation == "DATA_BATCH"


@pytest.mark.parametrize("text", ["?", "-1", "", "*"])
def test_what_exporters_write_for_any_size_is_no_name(text: str) -> None:
    kind = helper.make_tensor_type_proto(1, [text, 3])
    assert dims_of(kind) == (None, 3)


def test_sizes_below_1_stand_for_any() -> None:
    assert dims_of(helper.make_tensor_type_proto(1, [0, -1, 3])) == (None, None, 3)


def test_names_that_inference_makes_up_count_only_where_they_are_declared() -> None:
    kind = helper.make_tensor_type_proto(1, ["unk__0", "N"])
    assert dims_of(kind) == ("unk__0", "N")
    assert inferred_dims(kind) == (None, "N")


def test_tensor_types_inside_others() -> None:
    inner = helper.make_tensor_type_proto(1, [2])
    sequence = helper.make_sequence_type_proto(inner)
    assert [*tensor_types(inner)] == [inner]
    assert [*tensor_types(helper.make_optional_type_proto(sequence))] == [inner]
    assert [*tensor_types(TypeProto())] == []


HEADER = '<ir_version: 8, opset_import: ["": 17, "my": 1]>\n'

TEXT = (
    HEADER
    + """g (float[2,3] x, bool c) => (float[A,B] y)
    <float[9,9] t, float[2,C] u, float[7] v> {
    t = Relu(x)
    u = If (c) <then_branch = a () => (float[5,D] p) { p = Neg(t) },
                else_branch = b () => (float[5,D] q) { q = Abs(t) }>
    v = my.Unknown(u)
    y = Add(u, t)
}"""
)


def test_refreshing_follows_inference_and_keeps_what_it_is_silent_about() -> None:
    proto = parse(TEXT)
    refresh(proto.graph, inferred_graph(proto), lambda old, new: new if new else old)
    types = value_types(proto.graph)
    assert dims_of(types["t"]) == dims_of(types["u"]) == dims_of(types["y"]) == (2, 3)
    assert dims_of(types["v"]) == (7,)
    bodies = [attribute.g for attribute in proto.graph.node[1].attribute]
    assert [dims_of(body.output[0].type) for body in bodies] == [(2, 3), (2, 3)]


def test_a_rank_that_inference_contradicts_gives_way() -> None:
    proto = parse("g (float[2,3] x) => (float[5] y) { y = Relu(x) }")
    refresh(proto.graph, inferred_graph(proto), lambda old, new: old)
    assert dims_of(proto.graph.output[0].type) == (2, 3)


def test_what_is_declared_behind_an_unknown_operator_goes_on() -> None:
    proto = parse(
        HEADER
        + """g (float[2] x) => (float[A] y) <float[7] t> {
        t = my.Unknown(x)
        y = Relu(t)
    }"""
    )
    assert dims_of(value_types(inferred_graph(proto))["y"]) == (7,)

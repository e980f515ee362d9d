from __future__ import annotations

import pytest
from onnx import GraphProto, ModelProto, NodeProto

from graphopt.model.messages import copy_but
from tests.build import parse

NEWER = b"\xfa\x3f\x05newer"  # field 1023, a string


def copied(source: ModelProto, *left_out: str) -> ModelProto:
    target = ModelProto()
    copy_but(target, source, left_out)
    return target


@pytest.fixture
def model() -> ModelProto:
    found = parse("g (float[2] x) => (float[2] y) { y = Neg(x) }")
    found.producer_name = "vendor"
    found.metadata_props.add(key="author", value="them")
    return found


def test_all_but_what_is_named(model: ModelProto) -> None:
    found = copied(model, "graph", "producer_name")
    model.ClearField("graph")
    model.ClearField("producer_name")
    assert found == model and found.metadata_props[0].value == "them"


@pytest.mark.parametrize("left_out", [(), ("graph",)])
def test_fields_of_a_newer_onnx_come_along(model: ModelProto, left_out: tuple[str, ...]) -> None:
    newer = ModelProto.FromString(model.SerializeToString() + NEWER)
    assert NEWER in copied(newer, *left_out).SerializeToString()
    assert copied(newer, *left_out).HasField("graph") == (not left_out)


def test_text_in_another_encoding_comes_along(model: ModelProto) -> None:
    latin = ModelProto.FromString(model.SerializeToString().replace(b"vendor", b"vend\xf6r"))
    assert b"vend\xf6r" in copied(latin, "graph").SerializeToString()


def test_what_was_set_to_its_default_stays_set() -> None:
    node = NodeProto(op_type="Neg", doc_string="")
    target = NodeProto()
    copy_but(target, node, ())
    assert target.HasField("doc_string")
    graph = GraphProto()
    copy_but(graph, GraphProto(name=""), ())
    assert graph.HasField("name")

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import GraphProto, ModelProto, numpy_helper

from graphopt.graph.light import lighten, stub_number
from graphopt.model import Model, load_model
from graphopt.model.tensors import graph_tensors, model_tensors
from tests.build import PLACES, external_tensor, holding, parse

LARGE = np.arange(2048, dtype=np.float32)


@pytest.mark.parametrize("place", [p for p in PLACES if p != "training"])
def test_a_large_tensor_becomes_a_stub_of_its_type_and_shape(place: str) -> None:
    model = holding(numpy_helper.from_array(LARGE, "w"), place)
    light = lighten(Model(model))
    stubs = [t for t in model_tensors(light.proto) if stub_number(t) is not None]
    assert len(stubs) == len(light.originals) >= 1
    found = next(t for t in stubs if t.name == "w")
    assert (found.data_type, list(found.dims)) == (onnx.TensorProto.FLOAT, [2048])
    assert light.proto.ByteSize() < 2000


@pytest.mark.parametrize("place", ["initializer", "constant", "body", "body constant", "sparse"])
def test_restoring_gives_the_graph_back(place: str) -> None:
    model = holding(numpy_helper.from_array(LARGE, "w"), place)
    light = lighten(Model(model))
    light.restore(light.proto.graph)
    assert light.proto.graph == model.graph


def test_small_tensors_stay() -> None:
    model = holding(numpy_helper.from_array(LARGE[:8], "w"), "initializer")
    light = lighten(Model(model))
    assert light.proto == model
    assert light.originals == []


def test_a_stub_may_change_its_name_and_its_place() -> None:
    light = lighten(Model(holding(numpy_helper.from_array(LARGE, "w"), "initializer")))
    graph = GraphProto()
    graph.initializer.add().CopyFrom(light.proto.graph.initializer[-1])
    graph.initializer[0].name = "moved"
    light.restore(graph)
    assert graph.initializer[0].name == "moved"
    assert numpy_helper.to_array(graph.initializer[0]).tolist() == LARGE.tolist()


def test_small_external_tensors_are_read_and_large_ones_are_not(tmp_path: Path) -> None:
    model = parse("g (float[3] x) => (float[3] y) { y = Identity(x) }")
    (tmp_path / "w.bin").write_bytes(LARGE.tobytes())
    small = external_tensor("small", "w.bin", LARGE[:3], length=12)
    model.graph.initializer.extend([small, external_tensor("large", "w.bin", LARGE)])
    onnx.save(model, tmp_path / "m.onnx")
    loaded = load_model(tmp_path / "m.onnx")
    assert loaded.files is not None
    light = lighten(loaded)
    first, second = light.proto.graph.initializer
    assert numpy_helper.to_array(first).tolist() == [0, 1, 2]
    assert stub_number(second) == 0
    assert loaded.files.bytes_read == 12


def test_texts_are_kept_whole() -> None:
    words = np.array(["word"] * 2048, dtype=object)
    model = holding(numpy_helper.from_array(words, "w"), "initializer")
    assert lighten(Model(model)).proto == model


def test_the_standard_domain_has_one_name() -> None:
    model = parse(
        """<ir_version: 8, opset_import: ["ai.onnx": 17]>
        g (float[3] x) => (float[3] y) { y = Identity(x) }"""
    )
    model.graph.node[0].domain = "ai.onnx"
    light = lighten(Model(model)).proto
    assert [entry.domain for entry in light.opset_import] == [""]
    assert light.graph.node[0].domain == ""
    assert model.graph.node[0].domain == "ai.onnx", "the given model is not changed"


def test_graphs_in_lists_are_lightened_too() -> None:
    model: ModelProto = parse("g (float[3] x) => (float[3] y) { y = my.Switch(x) }")
    body = model.graph.node[0].attribute.add(name="branches", type=onnx.AttributeProto.GRAPHS)
    body.graphs.add().initializer.append(numpy_helper.from_array(LARGE, "w"))
    light = lighten(Model(model))
    assert len(light.originals) == 1
    assert [stub_number(t) for t in graph_tensors(light.proto.graph)] == [0]

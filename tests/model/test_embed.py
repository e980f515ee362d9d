from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

import graphopt.model.embed
from graphopt.errors import ModelError
from graphopt.model import Model, SaveOptions, load_model, save_model
from graphopt.model.embed import embed
from graphopt.model.tensors import model_tensors
from tests.build import PLACES, holding, parse

RAMP = np.arange(64, dtype=np.float32)


def outside(folder: Path, place: str) -> Model:
    """A model with one tensor of 256 bytes, beside it."""
    model = holding(numpy_helper.from_array(RAMP, "w"), place)
    path = save_model(load_model(model), folder / "m.onnx", SaveOptions(external_threshold=256))
    return load_model(path)


@pytest.mark.parametrize("place", [p for p in PLACES if p != "sparse"])
def test_a_tensor_comes_inside_wherever_it_is(tmp_path: Path, place: str) -> None:
    model = outside(tmp_path, place)
    assert model.has_external_data
    found = embed(model)
    assert not found.has_external_data
    kept = [t for t in model_tensors(found.proto) if list(t.dims) == [64]]
    assert [numpy_helper.to_array(tensor).tolist() for tensor in kept] == [RAMP.tolist()]
    assert model.has_external_data, "the given model is not changed"


@pytest.mark.parametrize(("below", "inside"), [(256, False), (257, True), (None, True)])
def test_only_smaller_ones_come(tmp_path: Path, below: int | None, inside: bool) -> None:
    found = embed(outside(tmp_path, "initializer"), below)
    assert found.has_external_data is not inside


def test_nothing_to_take_in_is_the_same_model() -> None:
    model = Model(parse("g (float[64] x) => (float[64] y) { y = Add(x, w) }", w=RAMP))
    assert embed(model) is model


def test_what_saves_again_is_what_was_there(tmp_path: Path) -> None:
    model = embed(outside(tmp_path, "initializer"))
    path = save_model(model, tmp_path / "inside.onnx")
    tensors = {t.name: t for t in onnx.load(path, load_external_data=False).graph.initializer}
    assert tensors["w"].data_location == TensorProto.DEFAULT
    assert tensors["w"].raw_data == RAMP.tobytes()


def test_what_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = outside(tmp_path, "initializer")
    monkeypatch.setattr(graphopt.model.embed, "PROTOBUF_LIMIT", 500)
    with pytest.raises(ModelError, match="do not fit inside"):
        embed(model)

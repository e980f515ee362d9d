"""Verification can fail: a catalogue model with one corrupted weight is told from the whole one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from onnx import GraphProto, ModelProto, TensorProto, numpy_helper

from graphopt.contract import Effect
from graphopt.graph import annotate, build_program, graph_view
from graphopt.model import Model, load_model
from graphopt.report import Verification
from graphopt.runtime import shared_runtime
from graphopt.verify import Verifier, VerifyOptions
from models.catalog import by_name, feeds, load_catalog
from models.fetch import fetch

NAMES = [model.name for model in load_catalog()]
SAMPLED = 5
"""Weights looked at in each model, beside the first one that matters."""

MOVED = 2e-3
"""Change of an output, relative to its largest value, that is no rounding: twice the cap."""

_WEIGHT_AT = {"Conv": (1,), "ConvTranspose": (1,), "Gemm": (1,), "MatMul": (0, 1), "LSTM": (1, 2)}


@cache
def original(name: str) -> Model:
    return load_model(fetch(name))


@cache
def data(name: str) -> list[dict[str, Any]]:
    return [dict(feeds(by_name(name), seed)) for seed in (0, 1)]


def weights(graph: GraphProto) -> Iterator[TensorProto]:
    """Weights of convolutions, matrix products and LSTMs, in the order of their nodes."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            stored[node.output[0]] = node.attribute[0].t
    for node in graph.node:
        for index in _WEIGHT_AT.get(node.op_type, ()):
            if index < len(node.input) and node.input[index] in stored:
                yield stored[node.input[index]]
        for attribute in node.attribute:
            yield from weights(attribute.g)


def corrupted(name: str, index: int) -> ModelProto:
    """The model with the largest element of one weight negated and scaled."""
    proto = ModelProto()
    proto.CopyFrom(original(name).proto)
    tensor = list(weights(proto.graph))[index]
    array = numpy_helper.to_array(tensor).copy()
    largest = np.unravel_index(np.abs(array).argmax(), array.shape)
    array[largest] *= -4
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return proto


@cache
def answers(name: str, index: int | None) -> list[dict[str, Any]]:
    """What ONNX Runtime makes of the data, with nothing of graphopt.verify in between."""
    proto = original(name).proto if index is None else corrupted(name, index)
    outputs = [info.name for info in proto.graph.output]
    content = proto.SerializeToString()
    return [shared_runtime().run_once(content, item, outputs) for item in data(name)]


def moved(name: str, index: int) -> float:
    """How far the corruption moves the answers, relative to the largest of each output."""
    pairs = (
        (value, after[output])
        for before, after in zip(answers(name, None), answers(name, index), strict=True)
        for output, value in before.items()
    )
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)


def verdict(name: str, candidate: Model) -> Verification:
    program = build_program(original(name))
    annotate(program, original(name).proto)
    options = VerifyOptions(data=data(name))
    view = graph_view(program.main, program)
    with Verifier(original(name), view, shared_runtime(), options) as verifier:
        return verifier.check(candidate, Effect.ROUNDING)


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_model_is_ok(name: str) -> None:
    outcome = verdict(name, original(name))
    assert (outcome.status, outcome.method) == ("ok", "onnxruntime")


@pytest.mark.parametrize("name", NAMES)
def test_one_corrupted_weight_is_found(name: str) -> None:
    count = len(list(weights(original(name).proto.graph)))
    # A branch that this data does not take, or a channel that it leaves at zero, shows nothing.
    index = next(index for index in range(count) if moved(name, index) > MOVED)
    outcome = verdict(name, original(name).with_proto(corrupted(name, index)))
    assert outcome.status == "failed"
    assert any("differs by" in check.detail for check in outcome.failures())


@pytest.mark.parametrize("name", NAMES)
def test_no_corruption_that_moves_the_answers_is_ok(name: str) -> None:
    count = len(list(weights(original(name).proto.graph)))
    for index in sorted({round(i) for i in np.linspace(0, count - 1, SAMPLED)}):
        if moved(name, index) > MOVED:
            candidate = original(name).with_proto(corrupted(name, index))
            assert verdict(name, candidate).status != "ok"

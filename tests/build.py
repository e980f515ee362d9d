"""Small models out of onnx.parser text, one line a node."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx.parser
from hypothesis import settings
from onnx import ModelProto, TensorProto, helper, numpy_helper

from graphopt.graph import Program, annotate, build_program
from graphopt.model import Model

Array = npt.NDArray[Any]

few = settings(max_examples=30, deadline=None, derandomize=True, database=None)
"""For property tests: quick, and the same examples in every run."""

RAMP = np.arange(6, dtype=np.float32)
"""Small values for external data."""

HEADER = '<ir_version: 8, opset_import: ["": 17]>\n'


def parse(text: str, **initializers: Array) -> ModelProto:
    """Build a model from text.

    Args:
        text: The graph, and functions behind it; a header in angle brackets where ir_version 8
            and opset 17 are not wanted.
        initializers: Arrays to append as initializers, by name.
    """
    whole = text if text.lstrip().startswith("<") else HEADER + text
    model = onnx.parser.parse_model(whole)
    for name, array in initializers.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


def build(model: ModelProto | str, **initializers: Array) -> Program:
    """Link a model's graph, with types known, as the engine does."""
    proto = parse(model, **initializers) if isinstance(model, str) else model
    program = build_program(Model(proto))
    annotate(program, proto)
    return program


def external_tensor(name: str, location: str, array: Array, **entries: object) -> TensorProto:
    """A tensor with `array`'s type and shape, whose bytes lie at `location`."""
    tensor = numpy_helper.from_array(array, name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


PLACES = ("initializer", "constant", "body", "body constant", "function", "sparse", "training")
"""Where a model can keep a tensor."""


def holding(tensor: TensorProto, place: str) -> ModelProto:
    """A model that keeps a float tensor of any shape in one of PLACES."""
    model = parse(_HOLDER)
    graph = model.graph
    body = graph.node[0].attribute[0].g
    if place == "initializer":
        graph.initializer.append(tensor)
    elif place == "body":
        body.initializer.append(tensor)
    elif place == "sparse":
        sparse = graph.sparse_initializer.add(dims=tensor.dims)
        sparse.values.CopyFrom(tensor)
        sparse.indices.CopyFrom(numpy_helper.from_array(np.arange(tensor.dims[0]), "indices"))
    elif place == "training":
        model.training_info.add().initialization.initializer.append(tensor)
    else:
        nodes = {
            "constant": graph.node,
            "body constant": body.node,
            "function": model.functions[0].node,
        }
        nodes[place].append(helper.make_node("Constant", [], [tensor.name], value=tensor))
    return model


_HOLDER = """<ir_version: 8, opset_import: ["": 17, "local": 1]>
agraph (float[N] x, bool c) => (float[N] y) {
  s = If (c) <
    then_branch = then_graph () => (float[N] a) { a = Relu(x) },
    else_branch = else_graph () => (float[N] b) { b = Neg(x) }
  >
  y = local.twice(s)
}
<domain: "local", opset_import: ["": 17]>
twice (v) => (r) { r = Add(v, v) }
"""

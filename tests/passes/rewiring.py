"""Small changes to a model, of which the situations are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from tests.passes.piece import Piece
from tests.passes.support import Scope, answers, random_feeds

FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}


def between(model: ModelProto, piece: Piece) -> list[ValueInfoProto]:
    """What the main graph computes on the way to its outputs, with types."""
    known = {info.name: info for info in onnx.shape_inference.infer_shapes(model).graph.value_info}
    skipped = {info.name for info in model.graph.output} | set(piece.hidden) | {""}
    nodes = [node for node in model.graph.node if node.op_type != "Constant"]
    names = [name for node in nodes for name in node.output if name not in skipped]
    open_ones = [
        name
        for name in names
        if name not in known or not known[name].type.tensor_type.HasField("shape")
    ]
    return [known[name] for name in names if name not in open_ones] + _seen(model, open_ones)


def _seen(model: ModelProto, names: list[str]) -> list[ValueInfoProto]:
    """Type and rank of values about which inference says nothing: what a run gives."""
    if not names:
        return []
    probe = ModelProto.FromString(model.SerializeToString())
    del probe.graph.output[:]
    probe.graph.output.extend(ValueInfoProto(name=name) for name in names)
    found = answers(probe, random_feeds(probe), reference=False)
    return [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), [None] * array.ndim
        )
        for name, array in zip(names, found, strict=True)
    ]


def ends(model: ModelProto) -> tuple[tuple[str, int], tuple[str, int]]:
    """Name and element type of the first input and the first output."""
    x, y = model.graph.input[0], model.graph.output[0]
    return (x.name, x.type.tensor_type.elem_type), (y.name, y.type.tensor_type.elem_type)


def scalar(name: str, value: float, kind: int) -> TensorProto:
    """A number of any type."""
    return helper.make_tensor(name, kind, [], [value if kind in FLOATS else int(value)])


def read(source: str, result: str, kind: int) -> list[NodeProto]:
    """A reader of a type of value that no pass knows anything about."""
    if kind in FLOATS:
        # ONNX Runtime has no Atan for double.
        operator = "Exp" if kind == TensorProto.DOUBLE else "Atan"
        return [helper.make_node(operator, [source], [result])]
    value = numpy_helper.from_array(
        np.array(kind == TensorProto.BOOL or 1000003, helper.tensor_dtype_to_np_dtype(kind))
    )
    operator = "Xor" if kind == TensorProto.BOOL else "Mod"
    return [
        helper.make_node("Constant", [], [f"{result}_by"], value=value),
        helper.make_node(operator, [source, f"{result}_by"], [result]),
    ]


def stacked(kind: str) -> str:
    """The type of three in a row."""
    return kind.replace("[", "[3,") if "[" in kind else f"{kind}[3]"


def reread(nodes: Iterable[NodeProto], old: str, new: str) -> None:
    """Let nodes, and those in their bodies, read another value."""
    for node in nodes:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new
        for attribute in node.attribute:
            if attribute.HasField("g"):
                reread(attribute.g.node, old, new)


def prepend(model: ModelProto, nodes: list[NodeProto]) -> ModelProto:
    """Put nodes in front of all others."""
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    return model


def enclose(model: ModelProto, first: NodeProto, last: NodeProto) -> ModelProto:
    """Put one node behind x and one before y; between them, they are x_0 and y_0."""
    reread(model.graph.node, "x", "x_0")
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            if name == "y":
                node.output[index] = "y_0"
    reread(model.graph.node, "y", "y_0")
    model.graph.node.append(last)
    return prepend(model, [first])


def as_constant_nodes(model: ModelProto) -> ModelProto:
    """Turn initializers into Constant nodes."""
    nodes = [
        helper.make_node("Constant", [], [tensor.name], value=tensor)
        for tensor in model.graph.initializer
    ]
    del model.graph.initializer[:]
    return prepend(model, nodes)


def names_in(model: ModelProto) -> Iterator[str]:
    """Names of values and nodes, in every body and function."""
    scopes: list[Scope] = [model.graph, *model.functions]
    for scope in scopes:
        if isinstance(scope, onnx.GraphProto):
            yield from (tensor.name for tensor in scope.initializer)
        for node in scope.node:
            yield from (name for name in (node.name, *node.output) if name)
            scopes.extend(a.g for a in node.attribute if a.HasField("g"))

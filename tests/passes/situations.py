"""One model for each situation that every pass must cope with, around any piece of graph."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

import graphopt
from graphopt.contract import AnyPass
from tests.build import parse
from tests.passes.piece import Piece, with_functions
from tests.passes.pieces.first import FIRST
from tests.passes.rewiring import (
    FLOATS,
    as_constant_nodes,
    between,
    enclose,
    ends,
    names_in,
    prepend,
    read,
    reread,
    scalar,
    stacked,
)

TOP = 4.5
"""Where x and y are cut off: most elements go on varying."""


class Situation(Protocol):
    """Builds a model around a piece of graph.

    A pass, where it is given, is the one that the model is for; else it is for recipe `exact`.
    """

    def __call__(self, piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto: ...


def plain(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """The piece is the whole graph."""
    return piece.model()


def if_branch(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """It is a branch of an If."""
    return piece.model("if")


def if_branch_captured(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """The same, with its constants in the main graph."""
    return piece.model("if", captured=True)


def loop_body(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """It is the body of a Loop."""
    return piece.model("loop")


def loop_body_captured(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """The same, with its constants in the main graph."""
    return piece.model("loop", captured=True)


def function(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """It is a local function, which knows no shapes."""
    return piece.model("function")


def scan_body(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """It is the body of a Scan, which goes over the first axis."""
    kinds = {name: stacked(kind) for name, kind in (("x", piece.x), ("y", piece.y or piece.x))}
    mixed = piece.x.startswith("float[")
    text = f"""<ir_version: 10, opset_import: ["" : {piece.opset}, "local" : 1]>
    g ({kinds["x"]} xs, float start) => (float last, {kinds["y"]} ys) {{
        last, ys = Scan <num_scan_inputs = 1, body = step (float state, {piece.x} x) =>
            (float state_next, {piece.y or piece.x} y) {{
                {"x_s = Add(x, state)" if mixed else ""}
                {piece.nodes}
                state_next = Neg(state)
            }}> (start, xs)
    }}"""
    model = parse(text, **piece.constants)
    if mixed:
        (body,) = (a.g for a in model.graph.node[0].attribute if a.HasField("g"))
        reread(body.node[1:], "x", "x_s")
    return with_functions(model, piece)


def domain_spelled_out(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """The standard domain is imported as `ai.onnx`."""
    model = piece.model()
    model.opset_import[0].domain = "ai.onnx"
    return model


def graph_outputs(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """Everything that is computed, and a constant, is given back by the graph as well."""
    model = piece.model()
    model.graph.output.extend(between(model, piece))
    for tensor in model.graph.initializer[:1]:
        model.graph.output.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    return model


def two_readers(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """Everything that is computed has another reader, whose result is an output."""
    model = piece.model()
    for info in between(model, piece):
        result = f"{info.name}_read"
        model.graph.node.extend(read(info.name, result, info.type.tensor_type.elem_type))
        model.graph.output.add(name=result, type=info.type)
    return model


def left_out_inputs(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """Optional inputs are left out: in the middle, and, spelled as empty, at the end."""
    model = piece.model()
    for node in model.graph.node:
        if node.domain == "":
            formal = onnx.defs.get_schema(node.op_type, piece.opset, "").inputs
            rest = [f.option == onnx.defs.OpSchema.FormalParameterOption.Optional for f in formal]
            node.input.extend("" for _ in rest[len(node.input) :] if all(rest[len(node.input) :]))
    tops = {end: scalar(f"top_{end}", TOP, kind) for end, kind in ends(model)}
    model.graph.initializer.extend(tops.values())
    first = helper.make_node("Clip", ["x", "", "top_x"], ["x_0"])
    last = helper.make_node("Clip", ["y_0", "", "top_y"], ["y"])
    return enclose(model, first, last)


def used_twice(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """One tensor is used twice by one node: in front, behind, and where the piece says so."""
    nodes = piece.nodes
    for old, new in piece.twice.items():
        assert old in nodes
        nodes = nodes.replace(old, new)
    model = piece.model(nodes=nodes)
    (_, kind), _ = ends(model)
    first = helper.make_node("Mul" if kind in FLOATS else "Max", ["x", "x"], ["x_0"])
    return enclose(model, first, helper.make_node("Mul", ["y_0", "y_0"], ["y"]))


def names_taken(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """The names that a pass gives to new values and nodes belong to others already."""
    model = piece.model()
    passes = [instance] if instance else None
    after = graphopt.optimize(model, passes=passes, verify=False).model.proto
    names = sorted(set(names_in(after)) - set(names_in(model))) or ["x_1"]
    kind = model.graph.input[0].type.tensor_type.elem_type
    taken, source = [], "x"
    for name in names:
        taken += read(source, name, kind)
        taken[-1].name, source = name, name
    reread(model.graph.node, "x", source)
    model.graph.initializer.append(scalar(f"{names[0]}_1", -9, kind))
    last = helper.make_node("Max", [source, f"{names[0]}_1"], ["x_0"])
    reread(model.graph.node, source, "x_0")
    return prepend(model, [*taken, last])


def constant_nodes(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """Every constant sits in a Constant node."""
    return as_constant_nodes(piece.model())


def shared_weights(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """Other nodes read the constants, too."""
    model = piece.model()
    (_, kind), _ = ends(model)
    model.graph.node.append(helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0))
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.BOOL:
            continue
        cast, result = f"largest_{tensor.name}", f"{tensor.name}_read"
        model.graph.node.append(
            helper.make_node("CastLike", ["largest", tensor.name], [cast])
            if tensor.data_type != kind
            else helper.make_node("Abs", ["largest"], [cast])
        )
        model.graph.node.append(helper.make_node("Add", [tensor.name, cast], [result]))
        model.graph.output.append(
            helper.make_tensor_value_info(result, tensor.data_type, tensor.dims)
        )
    return model


def overridable(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """Every floating-point initializer is a graph input as well: a default callers may override."""
    model = piece.model()
    model.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in model.graph.initializer
        if tensor.data_type in FLOATS
    )
    return model


def ir_version_3(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """Initializers would have to be inputs: constants are Constant nodes, old and new ones."""
    model = as_constant_nodes(piece.model(opset=piece.old))
    if not piece.functions:  # they come with IR version 8
        model.ir_version = 3
    return model


def nothing_to_do(piece: Piece = FIRST, instance: AnyPass | None = None) -> ModelProto:
    """No pass finds anything here, whatever the piece."""
    head = '<ir_version: 10, opset_import: ["" : 18]>'
    text = head + "g (float[2,3] x) => (float[2,3] y) { a = MatMul(x, m) y = Tanh(a) }"
    return parse(text, m=np.random.default_rng(5).standard_normal((3, 3)).astype(np.float32))


SITUATIONS: dict[str, Situation] = {
    "plain": plain,
    "if branch": if_branch,
    "if branch, captured": if_branch_captured,
    "loop body": loop_body,
    "loop body, captured": loop_body_captured,
    "function": function,
    "scan body": scan_body,
    "domain spelled out": domain_spelled_out,
    "graph outputs": graph_outputs,
    "two readers": two_readers,
    "left out inputs": left_out_inputs,
    "used twice": used_twice,
    "names taken": names_taken,
    "constant nodes": constant_nodes,
    "shared weights": shared_weights,
    "overridable": overridable,
    "ir version 3": ir_version_3,
    "nothing to do": nothing_to_do,
}

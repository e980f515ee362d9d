"""One piece of graph in four places: the main graph, an If branch, a Loop body, a local function.

The piece reads `x` and writes `y`. Its constants are initializers of the graph it stands in,
initializers of the main graph (captured), or Constant nodes where a function stores no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import onnx.parser
from onnx import ModelProto, helper, numpy_helper

from tests.passes.support import Array, Scope, bodies, lines

Place = Literal["main", "if", "loop", "function"]
PLACES: tuple[Place, ...] = ("main", "if", "loop", "function")
GRAPHS: tuple[Place, ...] = ("main", "if", "loop")
"""Those that store initializers."""

_HEAD = '<ir_version: {ir}, opset_import: ["" : {opset}, "local" : 1]>'
_TEXT: dict[Place, str] = {
    "main": "g ({x} x) => ({y} y) {{ {body} }}",
    "if": """g ({x} x, {y} spare, bool taken) => ({y} out) {{
        out = If(taken) <
            then_branch = yes () => ({y} y) {{ {body} }},
            else_branch = no () => ({y} other) {{ other = Neg(spare) }}
        >
    }}""",
    "loop": """g ({x} x0) => ({x} last, {all} all) {{
        count = Constant <value = int64 {{3}}> ()
        last, all = Loop(count, , x0) <
            body = step (int64 turn, bool going, {x} x) => (bool going_next, {x} x_next, {y} y) {{
                going_next = Cast <to = 9> (going)
                x_next = Neg(x)
                {body}
            }}
        >
    }}""",
    "function": """g ({x} x) => ({y} out) {{ out = local.piece(x) }}
        <domain: "local", opset_import: ["" : {opset}]>
        piece (x) => (y) {{ {body} }}""",
}
_PLUMBING = ("going_next = ", "x_next = ")


def placed(
    place: Place,
    body: str,
    constants: Mapping[str, Array] | None = None,
    *,
    x: str = "float[2,3]",
    y: str = "",
    opset: int = 18,
    ir: int = 10,
    captured: bool = False,
) -> ModelProto:
    """Put a piece of graph into its place.

    Args:
        place: Where.
        body: Nodes that read x and write y.
        constants: Values that the nodes read, by name.
        x: Type of x.
        y: Type of y; that of x when empty.
        opset: Version of the standard operators.
        ir: IR version; below 4 it keeps no initializers, so state them as Constant nodes.
        captured: Let a body read its constants from the main graph.
    """
    y = y or x
    many = y.replace("[", "[3,") if "[" in y else f"{y}[3]"
    text = _TEXT[place].format(body=body, x=x, y=y, all=many, opset=opset)
    model = onnx.parser.parse_model(_HEAD.format(ir=ir, opset=opset) + text)
    where = model.graph if captured else scope_of(model, place)
    for name, array in reversed(list((constants or {}).items())):
        tensor = numpy_helper.from_array(array, name)
        if isinstance(where, onnx.FunctionProto):
            where.node.insert(0, helper.make_node("Constant", [], [name], value=tensor))
        else:
            where.initializer.insert(0, tensor)
    return model


def scope_of(model: ModelProto, place: Place) -> Scope:
    """The graph or function that the piece stands in."""
    if place == "main":
        return model.graph
    if place == "function":
        return model.functions[0]
    found = bodies(model.graph)
    return found["out.then_branch"] if place == "if" else found["last.body"]


def piece(model: ModelProto, place: Place) -> list[str]:
    """The piece as text, without Constant nodes and without what a place needs around it."""
    return [
        entry
        for entry in lines(scope_of(model, place))
        if not entry.startswith(_PLUMBING) and " = Constant(" not in entry
    ]


def stored(model: ModelProto, place: Place) -> set[str]:
    """Names of the constants that stand where the piece does."""
    scope = scope_of(model, place)
    names = {node.output[0] for node in scope.node if node.op_type == "Constant"}
    if not isinstance(scope, onnx.FunctionProto):
        names |= {tensor.name for tensor in scope.initializer}
    return names

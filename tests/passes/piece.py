"""A piece of graph, around which every situation of situations.py is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx.parser
from onnx import ModelProto, helper

from tests.passes.placed import Place, placed
from tests.passes.support import Array

LOCAL = "local"


@dataclass(frozen=True)
class Piece:
    """Nodes that read `x` and write `y`, both numbers of any type and shape.

    Attributes:
        nodes: What the piece does, one node a line.
        constants: Values that the nodes read. Floating-point ones may be overridden by callers:
            none of them may have to be what it is for the model to run.
        x: Type of x.
        y: Type of y; that of x when empty.
        opset: Version of the standard operators.
        old: The version for IR version 3, in which the nodes mean the same; `opset` when 0.
        functions: Local functions that the nodes call, as text, in domain `local`.
        hidden: Values that get no other reader and are no outputs in any situation.
        twice: Parts of `nodes`, and what uses one tensor twice in their place.
    """

    nodes: str
    constants: Mapping[str, Array] = field(default_factory=dict)
    x: str = "float[2,3]"
    y: str = ""
    opset: int = 18
    old: int = 0
    functions: str = ""
    hidden: tuple[str, ...] = ()
    twice: Mapping[str, str] = field(default_factory=dict)

    def model(
        self, place: Place = "main", nodes: str = "", *, opset: int = 0, captured: bool = False
    ) -> ModelProto:
        """The piece in its place; `nodes` instead of its own where given."""
        version = opset or self.opset
        model = placed(
            place, nodes or self.nodes, self.constants,
            x=self.x, y=self.y, opset=version, captured=captured,
        )  # fmt: skip
        return with_functions(model, self, version)


def with_functions(model: ModelProto, piece: Piece, opset: int = 0) -> ModelProto:
    """Give a model the local functions that a piece calls, so that its own ones can as well."""
    if not piece.functions:
        return model
    imports = f'opset_import: ["" : {opset or piece.opset}, "{LOCAL}" : 1]'
    text = piece.functions.replace("<>", f'<domain: "{LOCAL}", {imports}>')
    head = f"<ir_version: 10, {imports}> g (float v) => (float v2) {{ v2 = Neg(v) }}"
    for function in model.functions:
        if all(entry.domain != LOCAL for entry in function.opset_import):
            function.opset_import.append(helper.make_opsetid(LOCAL, 1))
    model.functions.extend(onnx.parser.parse_model(head + text).functions)
    if all(entry.domain != LOCAL for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(LOCAL, 1))
    return model

"""Put Gelu in the place of its formula.

Before: x -> Div(1.4142) -> Erf -> Add(1) -> Mul(x) -> Mul(0.5) -> y        After: x -> Gelu -> y

Either form: `0.5 x (1 + erf(x / sqrt(2)))`, and `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`
as `approximate = "tanh"`; the factors in any order and association, and the polynomial in any form
without a difference.

Conditions: opset 20; the numbers are those of the formula but for a few roundings in their own
type; nothing else reads what lies between; float32, or float16: but on the CPU not its second form,
which ONNX Runtime spells out again, 3 to 11 % slower.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.passes.fuse._spelled import Spelled, Spelling, behind, first, product, put

_SLOPE = math.sqrt(2 / math.pi)
_INNER: dict[str, dict[int, float]] = {
    "Erf": {1: 1 / math.sqrt(2)},
    "Tanh": {1: _SLOPE, 3: _SLOPE * 0.044715},
}
"""What the function is taken of: coefficients by power of x."""
_APPROXIMATE = {"Erf": "none", "Tanh": "tanh"}


@dataclass(frozen=True)
class FuseGelu:
    """Replace the formula of Gelu, exact or with tanh, by the operator.

    Fires on synthetic graphs only among the catalogue's models. Source: ONNX operator Gelu, opset
    20; Hendrycks and Gimpel, "Gaussian Error Linear Units".

    Attributes:
        needs_opset: The first opset that has the operator.
    """

    name: ClassVar[str] = "fuse_gelu"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ("Erf", "Tanh")
    needs_opset: ClassVar[int] = 20

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Spelled | Skip | None:
        """Look at one Erf or Tanh, and for the end of the formula behind it."""
        return first(self._at(last, context) for last in behind(node, "Add", "Mul", "Div"))

    def _at(self, node: NodeView, context: Context) -> Spelled | Skip | None:
        if node.op_type == "Add":
            return None
        for index in (0, 1):
            spelling = Spelling(node)
            found = product(spelling)
            if found is None or len(found[0]) != 2:
                return None
            source, gate = found[0][index], found[0][1 - index]
            function = _function(spelling, source, gate, found[1])
            if function is None:
                continue
            if node.graph.opset() < self.needs_opset:
                return Skip(f"Gelu comes with opset {self.needs_opset}", self.needs_opset)
            if (
                function == "Tanh"
                and source.dtype == np.float16
                and context.target.provider == "cpu"
            ):
                return Skip("ONNX Runtime's CPU takes longer for the operator in float16")
            attributes = {"approximate": _APPROXIMATE[function]}
            return spelling.refusal(source) or spelling.as_one("Gelu", [source], attributes)
        return None

    def rewrite(self, match: Spelled, edit: Editor) -> None:
        """Put the one node in place of all."""
        put(match, edit)


def _function(spelling: Spelling, source: ValueView, gate: ValueView, half: float) -> str | None:
    """Erf or Tanh, where `source * gate * half` is the formula with it."""
    total = spelling.made_by(gate, "Add")
    sides = spelling.beside_number(total) if total is not None else None
    scaled = spelling.scaled(sides[0]) if sides is not None else None
    function = spelling.made_by(scaled[0], "Erf", "Tanh") if scaled is not None else None
    if sides is None or scaled is None or function is None:
        return None
    if not (spelling.near(sides[1] * half, 0.5) and spelling.near(scaled[1] * half, 0.5)):
        return None
    inner = spelling.polynomial(function.inputs[0], source)
    wanted = _INNER[function.op_type]
    if inner is None or inner.keys() != wanted.keys():
        return None
    fits = all(spelling.near(inner[power], wanted[power]) for power in wanted)
    return function.op_type if fits else None

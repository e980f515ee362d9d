"""Put Mish in the place of its formula.

Before: x -> Softplus -> Tanh -> Mul(x) -> y        After: x -> Mish -> y

Softplus spelled out as well (Exp -> Add(1) -> Log) is left alone: ONNX Runtime computes Mish as
these three nodes, and its Softplus takes 4 to 15 times as long as Exp, Add and Log.

Conditions: opset 18; nothing else reads what lies between; float32 or float16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip
from graphopt.passes.fuse._spelled import Spelled, Spelling, behind, first, put


@dataclass(frozen=True)
class FuseMish:
    """Replace `x * tanh(softplus(x))` by Mish.

    Fires on synthetic graphs only among the catalogue's models. Source: ONNX operators Mish, opset
    18, and Softplus; Misra, "Mish: A Self Regularized Non-Monotonic Activation Function".

    Attributes:
        needs_opset: The first opset that has the operator.
    """

    name: ClassVar[str] = "fuse_mish"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ("Softplus",)
    needs_opset: ClassVar[int] = 18

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Spelled | Skip | None:
        """Look at one Softplus, and for the end of the formula behind it."""
        return first(self._at(last) for last in behind(node, "Tanh", "Mul"))

    def _at(self, node: NodeView) -> Spelled | Skip | None:
        if node.op_type != "Mul":
            return None
        for index in (0, 1):
            source, gate = node.inputs[index], node.inputs[1 - index]
            spelling = Spelling(node)
            tanh = spelling.made_by(gate, "Tanh")
            softplus = spelling.made_by(tanh.inputs[0], "Softplus") if tanh is not None else None
            if source is None or softplus is None or softplus.inputs[0] is not source:
                continue
            if node.graph.opset() < self.needs_opset:
                return Skip(f"Mish comes with opset {self.needs_opset}", self.needs_opset)
            return spelling.refusal(source) or spelling.as_one("Mish", [source])
        return None

    def rewrite(self, match: Spelled, edit: Editor) -> None:
        """Put the one node in place of all."""
        put(match, edit)

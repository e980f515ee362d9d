"""Put RMSNormalization in the place of its formula.

Before: x -> Pow(2) -> ReduceMean -> Add(eps) -> Sqrt -> Reciprocal -> Mul(x) -> Mul(w) -> y
After:  x -> RMSNormalization(w) -> y

The inverse root may be Div, Reciprocal or Pow(-0.5), the square Mul(x, x). Without a scale behind
it, one of ones is made. The operator computes float16 in float32: squares that overflowed do not
now.

Conditions: opset 23; the mean is over the last axes, their sizes are known, and the scale is a
constant along them or a value of just that shape; nothing else reads what lies between; float32 or
float16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip
from graphopt.passes.fuse._normalised import DIVIDING, Normalised, divided, finished, put_normalised
from graphopt.passes.fuse._spelled import behind, first


@dataclass(frozen=True)
class FuseRmsnorm:
    """Replace the formula of a root mean square normalisation by the operator.

    Fires on synthetic graphs only among the catalogue's models. Source: ONNX operator
    RMSNormalization, opset 23; Zhang and Sennrich, "Root Mean Square Layer Normalization".

    Attributes:
        needs_opset: The first opset that has the operator.
    """

    name: ClassVar[str] = "fuse_rmsnorm"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ("ReduceMean",)
    needs_opset: ClassVar[int] = 23

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Normalised | Skip | None:
        """Look at one mean, and for a division by its root behind it."""
        return first(self._at(last) for last in behind(node, *DIVIDING))

    def _at(self, node: NodeView) -> Normalised | Skip | None:
        found = divided(node)
        if found is None:
            return None
        if node.graph.opset() < self.needs_opset:
            return Skip(f"RMSNormalization comes with opset {self.needs_opset}", self.needs_opset)
        spelling, normalised = found
        return finished(spelling, "RMSNormalization", normalised.value, normalised, bias=False)

    def rewrite(self, match: Normalised, edit: Editor) -> None:
        """Put the one node in place of all."""
        put_normalised(match, edit)

"""Put LayerNormalization in the place of its formula.

Before: x -> Sub(ReduceMean(x)) -> Div(Sqrt(ReduceMean(Pow(2)) + eps)) -> Mul(w) -> Add(b) -> y
After:  x -> LayerNormalization(w, b) -> y

The difference may be written twice, its square be Mul, the root Pow(0.5), and the division a
product with Reciprocal, Div or Pow(-0.5). Scale and bias may be missing: a scale of ones is made.
ONNX Runtime makes the same of the formula when it loads a model. The operator computes float16 in
float32: a variance that overflowed does not now.

Conditions: opset 17; both means are over the same last axes, their sizes are known, and scale and
bias are constants along them or values of just that shape; nothing else reads what lies between;
float32 or float16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip
from graphopt.passes.fuse._normalised import (
    DIVIDING,
    Normalised,
    divided,
    finished,
    mean_of,
    put_normalised,
)
from graphopt.passes.fuse._spelled import behind, first


@dataclass(frozen=True)
class FuseLayernorm:
    """Replace the formula of a layer normalisation by the operator.

    Fires on synthetic graphs only among the catalogue's models. Source: ONNX operator
    LayerNormalization, opset 17; Ba, Kiros and Hinton, "Layer Normalization".

    Attributes:
        needs_opset: The first opset that has the operator.
    """

    name: ClassVar[str] = "fuse_layernorm"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ("ReduceMean",)
    needs_opset: ClassVar[int] = 17

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Normalised | Skip | None:
        """Look at one mean, and for a division by its root behind it."""
        return first(self._at(last) for last in behind(node, *DIVIDING))

    def _at(self, node: NodeView) -> Normalised | Skip | None:
        found = divided(node)
        if found is None:
            return None
        spelling, normalised = found
        centred = spelling.made_by(normalised.value, "Sub")
        mean = mean_of(spelling, centred.inputs[1]) if centred is not None else None
        if centred is None or mean is None or mean[0] is not centred.inputs[0]:
            return None
        source, axes = mean
        if axes != normalised.axes:
            return Skip("the two means are over different axes")
        if node.graph.opset() < self.needs_opset:
            return Skip(f"LayerNormalization comes with opset {self.needs_opset}", self.needs_opset)
        return finished(spelling, "LayerNormalization", source, normalised, bias=True)

    def rewrite(self, match: Normalised, edit: Editor) -> None:
        """Put the one node in place of all."""
        put_normalised(match, edit)

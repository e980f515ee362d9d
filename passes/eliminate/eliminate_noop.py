"""Remove nodes that give back what they are given.

Before: x -> Mul(1) -> Reshape(shape of x) -> Cast(type of x) -> y        After: y is x

Among them: Cast and CastLike to the same type; Reshape, Expand and Tile to the same shape;
Transpose in order; Pad by nothing; Slice of everything; Squeeze and Unsqueeze of nothing; Flatten
of a matrix; Gather of every index in order; Split into one; Concat, Sum, Max, Min and Mean of one
input, Concat with empty ones; Resize and Upsample by 1; DepthToSpace and SpaceToDepth by 1; Einsum
"ij->ij"; pools of 1 by 1 with strides of 1; reductions and global pools over axes of length 1;
x * 1, x / 1, x ** 1, x - 0, x + (-0), x and true, x or false, x xor false, x bitwise and ~0, or and
xor 0, x shifted by 0; Max, Min and Clip whose bounds nothing exceeds; Where of a constant, or of
one value twice; Dropout when it does not train, or drops nothing.

Rounding, not identical: x + 0.0, Where, sums and means of one number may change the sign of a zero;
Max, Min, Clip and MaxPool a NaN; interpolation by 1 an infinity. A float Clip without bounds stays:
it makes an infinity finite.

Each condition is proven from constants and inferred shapes; one operand must not widen the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.passes.eliminate._same_values import RULES, same_values


@dataclass(frozen=True, slots=True)
class Found:
    """A node that does nothing, between two values."""

    node: NodeView
    before: ValueView
    after: ValueView
    effect: Effect


@dataclass(frozen=True)
class EliminateNoop:
    """Let the readers of what a node leaves unchanged read its input.

    Fires on: silero_vad, magika. Source: the operators' ONNX definitions, opsets 1 to 25; IEEE 754
    for the signs of zeros.
    """

    name: ClassVar[str] = "eliminate_noop"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = tuple(RULES)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one node that may do nothing."""
        after = node.outputs[0]
        known = same_values(node, graph)
        before = node.inputs[known[0]] if known is not None else None
        if known is None or before is None or after is None:
            return None
        return after.replaceable_by(before) or Found(node, before, after, known[1])

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Bypass and remove it."""
        edit.replace(match.after, match.before)
        edit.remove(match.node)

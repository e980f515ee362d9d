"""Put HardSigmoid in the place of a line that is clipped at both ends.

Before: x -> Add(3) -> Clip(0, 6) -> Div(6) -> y        After: x -> HardSigmoid(1/6, 0.5) -> y
Before: x -> Add(3) -> Clip(0, 6) -> Mul(g) -> Div(6)   After: x -> HardSigmoid(1/6, 0.5) -> Mul(g)

Any line, `x * a + b` or `(x + b) * a`, clipped to [0, c] and divided by c; the division may come
before or after a product with something else, x itself included (HardSwish before opset 14). ONNX
Runtime's CPU takes half the time: every node is a turn over memory.

Where a product with 6 overflowed before it was divided, it does not now.

Conditions: opset 7, where scalars broadcast; nothing else reads what lies between; float32 or
float16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.passes.fuse._ramp import Ramp, ramp
from graphopt.passes.fuse._spelled import Spelled, Spelling, behind, first, product, put, take_away


@dataclass(frozen=True, slots=True)
class Gated:
    """A HardSigmoid spelled out, and what it is multiplied with."""

    spelled: Spelled
    beside: ValueView
    effect: Effect = Effect.ROUNDING


@dataclass(frozen=True)
class FuseHardsigmoid:
    """Replace a line clipped to [0, 1], or to [0, c] and divided by c, by HardSigmoid.

    Fires on: ppocr_det, ppocr_rec, ppocr_cls. Source: ONNX operators HardSigmoid, opset 6, and
    Clip, opsets 6 to 13.

    Attributes:
        needs_opset: The first opset in which all of it can be read and said.
    """

    name: ClassVar[str] = "fuse_hardsigmoid"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ("Clip", "Min")
    needs_opset: ClassVar[int] = 7

    def match(
        self, node: NodeView, graph: GraphView, context: Context
    ) -> Spelled | Gated | Skip | None:
        """Look at a clipped line, and at the products behind it."""
        if graph.opset() < self.needs_opset:
            return None
        spelling = Spelling(node)
        found = ramp(spelling, node.outputs[0])
        if found is None:
            return None
        alone = _judged(spelling, found, None, least=2)
        return alone or first(self._at(last) for last in behind(node, "Mul", "Div"))

    def _at(self, node: NodeView) -> Spelled | Gated | Skip | None:
        for index in (0, 1):
            spelling = Spelling(node)
            factors = product(spelling)
            if factors is None or index >= len(factors[0]):
                return None
            beside = factors[0][1 - index] if len(factors[0]) == 2 else None
            number = factors[1]
            found = ramp(spelling, factors[0][index])
            if found is None or number <= 0 or number == 1:
                continue  # without a number, the clipped line stands for itself
            least = 2 if beside is None else 3
            return _judged(spelling, found.times(number), beside, least)
        return None

    def rewrite(self, match: Spelled | Gated, edit: Editor) -> None:
        """Put the one node in place of all, and the product behind it."""
        if isinstance(match, Spelled):
            put(match, edit)
            return
        last = match.spelled.nodes[0]
        target = last.outputs[0]
        assert target is not None
        gate = edit.insert(
            "HardSigmoid", match.spelled.inputs, before=last, hint=target.name,
            attributes=match.spelled.attributes,
        )  # fmt: skip
        made = edit.insert("Mul", [match.beside, gate.outputs[0]], before=last, hint=target.name)
        edit.adopt(made, 0, target)
        take_away(match.spelled.nodes, edit)


def _judged(
    spelling: Spelling, found: Ramp, beside: ValueView | None, least: int
) -> Spelled | Gated | Skip | None:
    """The match, where the ramp ends at 1 and enough nodes go."""
    if not spelling.near(found.top, 1.0) or len(spelling.nodes) < least:
        return None
    if beside is not None and beside.producer in spelling.nodes:
        return None
    if not found.is_finite:
        return Skip("slope or offset is no float32 number")
    refused = spelling.refusal(found.source)
    if refused is not None:
        return refused
    attributes = {"alpha": found.slope, "beta": found.offset}
    spelled = spelling.as_one("HardSigmoid", [found.source], attributes)
    return spelled if beside is None else Gated(spelled, beside)

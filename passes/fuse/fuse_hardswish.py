"""Put HardSwish in the place of its formula.

Before: x -> Add(3) -> Clip(0, 6) -> Mul(x) -> Div(6) -> y        After: x -> HardSwish -> y
Before: x -> HardSigmoid(1/6, 0.5) -> Mul(x) -> y                 After: x -> HardSwish -> y

The factors in any order; the division by 6 anywhere among them, or a product with 1/6. Before opset
14, `fuse_hardsigmoid` makes two nodes of it.

Where 6 x overflowed, the result is x now.

Conditions: opset 14; nothing else reads what lies between; float32 or float16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.passes.fuse._ramp import hard_sigmoid, ramp
from graphopt.passes.fuse._spelled import (
    TYPES,
    Spelled,
    Spelling,
    behind,
    first,
    near,
    product,
    put,
)

_ATTRIBUTE = np.dtype(np.float32)
"""Type in which HardSigmoid is given its numbers."""


@dataclass(frozen=True)
class FuseHardswish:
    """Replace `x * clip(x + 3, 0, 6) / 6` by HardSwish.

    Fires on synthetic graphs only among the catalogue's models. Source: ONNX operators HardSwish,
    opset 14, and HardSigmoid; Howard et al., "Searching for MobileNetV3".

    Attributes:
        needs_opset: The first opset that has the operator.
    """

    name: ClassVar[str] = "fuse_hardswish"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ("Clip", "Min", "HardSigmoid")
    needs_opset: ClassVar[int] = 14

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Spelled | Skip | None:
        """Look at one gate, and for the end of the formula behind it."""
        return first(self._at(last) for last in behind(node, "Mul", "Div"))

    def _at(self, node: NodeView) -> Spelled | Skip | None:
        for index in (0, 1):
            spelling = Spelling(node)
            found = product(spelling)
            if found is None or len(found[0]) != 2 or found[1] <= 0:
                return None
            source, gate = found[0][index], found[0][1 - index]
            if not _is_gate(spelling, gate, source, found[1]):
                continue
            if node.graph.opset() < self.needs_opset:
                return Skip(f"HardSwish comes with opset {self.needs_opset}", self.needs_opset)
            return spelling.refusal(source) or spelling.as_one("HardSwish", [source])
        return None

    def rewrite(self, match: Spelled, edit: Editor) -> None:
        """Put the one node in place of all."""
        put(match, edit)


def _is_gate(spelling: Spelling, gate: ValueView, source: ValueView, factor: float) -> bool:
    """Tell whether `gate * factor` is `clip(source / 6 + 0.5, 0, 1)`."""
    line = hard_sigmoid(spelling, gate, source)
    dtype = _ATTRIBUTE if line is not None else spelling.dtype
    line = ramp(spelling, gate, source) if line is None else line
    if line is None or dtype is None or dtype not in TYPES:
        return False
    scaled = line.times(factor)
    pairs = ((scaled.slope, 1 / 6), (scaled.offset, 0.5), (scaled.top, 1.0))
    return all(near(number, wanted, dtype) for number, wanted in pairs)

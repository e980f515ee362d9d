"""Read a value that a Loop only carries along where it comes from.

Before: last, all = Loop(n, , w) {v: s = MatMul(x, v), v' = Identity(v)}, y = Relu(last)
After:  last, all = Loop(n, , w) {v: s = MatMul(x, w), v' = Identity(w)}, y = Relu(w)

The body gives the value back as it got it, so that it is what it was before the Loop in every turn,
and behind the Loop even without a turn. A constant is a constant inside the body then, and
inference knows the shape of what is read there. No node goes by this alone; no node comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.passes.restructure._bodies import behind_identities


@dataclass(frozen=True, slots=True)
class Found:
    """Values to be read directly: what is carried, or its last value, and what it was first."""

    direct: list[tuple[ValueView, ValueView]]
    effect: Effect = Effect.IDENTICAL


@dataclass(frozen=True)
class EliminateLoopState:
    """Let the readers of an unchanging loop-carried value read its initial value.

    Fires on synthetic graphs only among the catalogue's models. Source: ONNX operator Loop, opsets
    1 to 25.
    """

    name: ClassVar[str] = "eliminate_loop_state"
    effect: ClassVar[Effect] = Effect.IDENTICAL
    roots: ClassVar[tuple[str, ...]] = ("Loop",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one Loop."""
        body, first = node.bodies.get("body"), node.inputs[2:]
        if body is None or len(body.inputs) != len(first) + 2 or len(body.outputs) <= len(first):
            return None
        direct = []
        for index, initial in enumerate(first):
            carried, result = body.inputs[2 + index], body.outputs[1 + index]
            if initial is None or behind_identities(result) not in (carried, initial):
                continue
            last = node.outputs[index] if index < len(node.outputs) else None
            for value in (carried, last):
                if value and value.readers and value.replaceable_by(initial) is None:
                    direct.append((value, initial))
        return Found(direct) if direct else None

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Read round the Loop."""
        for value, initial in match.direct:
            edit.replace(value, initial)

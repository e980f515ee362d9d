"""Put the turns of a Loop in its place where that leaves fewer nodes.

Before: last, all = Loop(1, , x) {v, s = body(turn, going, v)}
After:  v, s = body(0, true, x), all = Unsqueeze(s, 0), last = v

The number of turns is known: a constant trip count, a constant or absent condition, and a body that
gives back a constant condition or the one it got. A Loop of no turn gives what it was given. With
more than one turn the body is copied only where so much of it comes down to constants that no more
nodes remain: index arithmetic, and what it does to constant loop-carried values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.contract import (
    Context,
    Editor,
    Effect,
    GraphView,
    NodeView,
    Skip,
    ValueView,
)
from graphopt.passes.restructure._bodies import (
    behind_identities,
    fold_away,
    needed_for,
    size_of,
    stand_in,
    stored_bytes,
)

_ANY_IDENTITY = 16
"""Opset from which Identity takes sequences and optionals too."""
_AXES_AS_INPUT = 13
"""Opset from which Unsqueeze reads its axes."""
_COPIED_BYTES = 1024
"""Constants of a body up to which more than one copy of them is made."""


@dataclass(frozen=True, slots=True)
class Found:
    """A Loop, its body and how often it runs."""

    node: NodeView
    body: GraphView
    turns: int
    effect: Effect = Effect.IDENTICAL


@dataclass(frozen=True)
class UnrollLoop:
    """Unroll a Loop of known length where that leaves no more nodes.

    Fires on synthetic graphs only among the catalogue's models. Source: ONNX operator Loop, opsets
    1 to 25.

    Attributes:
        max_turns: Longer loops are left alone.
    """

    name: ClassVar[str] = "unroll_loop"
    effect: ClassVar[Effect] = Effect.IDENTICAL
    roots: ClassVar[tuple[str, ...]] = ("Loop",)

    max_turns: int = 16

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one Loop."""
        body = node.bodies.get("body")
        carried = max(0, len(node.inputs) - 2)
        if body is None or len(body.inputs) != carried + 2 or len(body.outputs) <= carried:
            return None
        turns = _turns(node, body)
        if turns is None or turns > self.max_turns:
            return None
        if graph.opset() < _ANY_IDENTITY and any(v and v.dtype is None for v in node.outputs):
            return Skip("it gives on a value of unknown type")
        scanned = [v for v in node.outputs[carried:] if v and _is_wanted(v)]
        if not turns and scanned:
            return Skip("it collects nothing, in a shape that is not certain")
        if turns and any(v.shape != () and _is_wanted(v) for v in body.inputs[:2]):
            return Skip("the body may take its turn or its condition as a vector")
        if not _shrinks(node, body, turns, len(scanned)):
            return Skip("more nodes would remain")
        return Found(node, body, turns)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Copy the body once a turn, put together what is collected, and remove the Loop."""
        node, body = match.node, match.body
        values: list[ValueView] = [value for value in node.inputs[2:] if value is not None]
        carried = len(values)
        collected: list[list[ValueView]] = [[] for _ in body.outputs[1 + carried :]]
        for turn in range(match.turns):
            bound: list[ValueView | None] = [
                _constant(value, number, edit, node.graph)
                for value, number in zip(
                    body.inputs, (np.array(turn, np.int64), np.array(True)), strict=False
                )
            ]
            results = edit.inline(node, body, [*bound, *values])
            values = list(results[1 : 1 + carried])
            for rows, result in zip(collected, results[1 + carried :], strict=True):
                rows.append(result)
        wanted = node.outputs[carried:]
        stacked = [
            _stacked(rows, node, edit) if output and _is_wanted(output) else None
            for rows, output in zip(collected, wanted, strict=False)
        ]
        stand_in(node, [*values, *stacked], edit)


def _is_wanted(value: ValueView) -> bool:
    return bool(value.readers) or value.is_graph_output


def _number(value: ValueView | None) -> int | None:
    """The one element of a constant; None for what is none."""
    if value is None or not value.is_constant or (value.nbytes or 0) > 8:
        return None
    array = value.array()
    return int(array.item()) if array.size == 1 else None


def _turns(node: NodeView, body: GraphView) -> int | None:
    """How often the body runs; None where that is not known, or without an end."""
    limit = node.inputs[0] if node.inputs else None
    start = node.inputs[1] if len(node.inputs) > 1 else None
    most, going = _number(limit), 1 if start is None else _number(start)
    if going == 0 or (most is not None and most <= 0):
        return 0
    if going is None or (most is None and limit is not None):
        return None
    goes_on = behind_identities(body.outputs[0])
    again = 1 if goes_on is body.inputs[1] else _number(goes_on)
    if again is None:
        return None
    return most if again else 1


def _shrinks(node: NodeView, body: GraphView, turns: int, scanned: int) -> bool:
    """Tell whether no more nodes remain, those that fold away not counted."""
    if turns == 0:
        return True
    if turns > 1 and stored_bytes(body) > _COPIED_BYTES:
        return False
    nodes = needed_for(body, body.outputs[1:])
    before = 1 + sum(map(size_of, body.nodes))
    after = scanned * (turns + (turns > 1))
    constants = [value.is_constant for value in node.inputs[2:] if value is not None]
    for _ in range(turns):
        fixed = [v for v, known in zip(body.inputs[2:], constants, strict=True) if known]
        known, left = fold_away(nodes, [*body.inputs[:2], *fixed])
        after += left
        constants = [v in known or v.is_constant for v in body.outputs[1 : 1 + len(constants)]]
    return after <= before


def _constant(
    value: ValueView, number: np.ndarray[tuple[()], np.dtype[np.generic]], edit: Editor,
    graph: GraphView,
) -> ValueView | None:  # fmt: skip
    """The turn or the condition as a constant, where the body looks at it."""
    return edit.constant(number, value.name, graph) if _is_wanted(value) else None


def _stacked(rows: Sequence[ValueView], node: NodeView, edit: Editor) -> ValueView:
    """What a scan output collects: the rows along a new first dimension."""
    found: list[ValueView] = []
    for row in rows:
        if node.graph.opset() < _AXES_AS_INPUT:
            made = edit.insert("Unsqueeze", [row], before=node, attributes={"axes": [0]})
        else:
            axes = edit.constant(np.array([0], np.int64), "axes", node.graph)
            made = edit.insert("Unsqueeze", [row, axes], before=node)
        result = made.outputs[0]
        assert result is not None
        found.append(result)
    if len(found) > 1:
        whole = edit.insert("Concat", found, before=node, attributes={"axis": 0}).outputs[0]
        assert whole is not None
        return whole
    return found[0]

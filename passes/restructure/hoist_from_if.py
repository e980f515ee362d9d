"""Compute what both branches of an If compute before it, once.

Before: y = If(c) {then: a = Exp(x), y = Neg(a)} {else: b = Exp(x), y = Abs(b)}
After:  a = Exp(x), y = If(c) {then: y = Neg(a)} {else: y = Abs(a)}

Either branch would have computed it, so that nothing runs that did not run before. The nodes are
equal in operator, attributes and inputs, small constants by their bytes. What a branch gives as its
result stays there; so do random operators, nodes of other domains, calls of functions and nodes
with bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import (
    Context,
    Editor,
    Effect,
    GraphView,
    NodeView,
    Skip,
    ValueView,
)
from graphopt.passes._operations import is_repeatable, operation_of

_SMALL_BYTES = 1024
"""Larger constants of a branch stay where they are."""

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """An If, and nodes of both branches that do the same, in their order."""

    node: NodeView
    groups: list[list[NodeView]]
    effect: Effect = Effect.IDENTICAL


@dataclass(frozen=True)
class HoistFromIf:
    """Move nodes that both branches of an If have before the If.

    Fires on: silero_vad. Source: common subexpression elimination across the branches of ONNX
    operator If, opsets 1 to 25.
    """

    name: ClassVar[str] = "hoist_from_if"
    effect: ClassVar[Effect] = Effect.IDENTICAL
    roots: ClassVar[tuple[str, ...]] = ("If",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one If."""
        yes, no = node.bodies.get("then_branch"), node.bodies.get("else_branch")
        if yes is None or no is None:
            return None
        kinds = {inner.op_type for inner in yes.nodes} & {inner.op_type for inner in no.nodes}
        if kinds <= {"Constant"}:
            return None
        numbers: dict[Key, int] = {}
        one = _hoistable(yes, numbers, None)
        other = _hoistable(no, numbers, one) if one else {}
        # What reads something that only one branch has goes out again.
        one = _hoistable(yes, numbers, other) if other else {}
        groups = [nodes + other[number] for number, nodes in one.items()]
        return Found(node, groups) if groups else None

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Insert one node for each group and let the branches read it."""
        for first, *others in match.groups:
            inputs = [_outside(value, match.node, edit) for value in first.inputs]
            made = edit.insert(
                first.op_type, inputs, before=match.node, outputs=len(first.outputs),
                attributes=first.attributes, hint=_name(first),
            )  # fmt: skip
            for node in (first, *others):
                for old, new in zip(node.outputs, made.outputs, strict=True):
                    if old is not None and new is not None and old.readers:
                        edit.replace(old, new)
                edit.remove(node)


def _name(node: NodeView) -> str:
    return next((value.name for value in node.outputs if value is not None), node.op_type)


def _hoistable(
    body: GraphView, numbers: dict[Key, int], among: Mapping[int, list[NodeView]] | None
) -> dict[int, list[NodeView]]:
    """Nodes of a body that read nothing of it but other such nodes, by the number of what they do.

    Args:
        body: The body.
        numbers: What nodes do, numbered: equal expressions have equal numbers.
        among: Only nodes that do what one of these does; None for all.
    """
    found: dict[int, list[NodeView]] = {}
    known: dict[ValueView, object] = {}
    for node in body.nodes:
        operands = [_operand(value, body, known) for value in node.inputs]
        if not _can_move(node) or any(operand is None for operand in operands):
            continue
        key = (operation_of(node), *operands)
        number = numbers.setdefault(key, len(numbers))
        if among is None or number in among:
            found.setdefault(number, []).append(node)
            known.update((v, (number, i)) for i, v in enumerate(node.outputs) if v is not None)
    return found


def _can_move(node: NodeView) -> bool:
    moves = node.op_type != "Constant" and is_repeatable(node)
    return moves and all(v is not None and not v.is_graph_output for v in node.outputs)


def _operand(value: ValueView | None, body: GraphView, known: Mapping[ValueView, object]) -> object:
    """What stands for an input in both branches; None for what only this one has."""
    if value is None:
        return "left out"
    if value in known:
        return known[value]
    if value.is_constant and (value.nbytes or 0) <= _SMALL_BYTES:
        return value.digest()
    return None if value.graph is body else value


def _outside(value: ValueView | None, node: NodeView, edit: Editor) -> ValueView | None:
    """An input as the graph of the If can read it: constants of a branch are stored there."""
    if value is None or value.graph not in node.bodies.values():
        return value
    return edit.constant(value.array(), value.name, node.graph)

"""Remove an If whose two branches give the same.

Before: y = If(c) {then: a = Relu(x), y = Neg(a)} {else: b = Relu(x), y = Neg(b)}
After:  a = Relu(x), y = Neg(a)

The same means: operators, attributes and captured values are equal, constants by their bytes; an
Identity counts as what it reads. Where the branches differ in other results, one that both only
give on (a captured value) is read directly. Never taken for equal: random operators, nodes of other
domains, calls of functions, nodes with bodies.
"""

from __future__ import annotations

from collections.abc import Callable
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
from graphopt.passes.restructure._bodies import behind_identities, cannot_stand_in, stand_in

Content = Callable[[ValueView], object]


@dataclass(frozen=True, slots=True)
class Found:
    """An If, and what its outputs are in either branch.

    Attributes:
        branch: The branch that can stand for both; None where only some results are equal.
        direct: Outputs with the captured values that both branches give on.
    """

    node: NodeView
    branch: GraphView | None
    direct: list[tuple[ValueView, ValueView]]
    effect: Effect = Effect.IDENTICAL


@dataclass(frozen=True)
class EliminateIf:
    """Inline one branch of an If where both compute the same.

    Fires on synthetic graphs only among the catalogue's models. Source: ONNX operator If, opsets 1
    to 25; common subexpression elimination.
    """

    name: ClassVar[str] = "eliminate_if"
    effect: ClassVar[Effect] = Effect.IDENTICAL
    roots: ClassVar[tuple[str, ...]] = ("If",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one If."""
        yes, no = node.bodies.get("then_branch"), node.bodies.get("else_branch")
        if yes is None or no is None or yes.inputs or no.inputs:
            return None
        if not len(yes.outputs) == len(no.outputs) == len(node.outputs):
            return None
        wanted = [
            i for i, v in enumerate(node.outputs) if v and (v.readers or v.is_graph_output)
        ]  # fmt: skip
        if not any(_alike(yes.outputs[i], no.outputs[i]) for i in wanted):
            return None
        equal = _equal_outputs(yes, no, wanted)
        if wanted and len(equal) == len(wanted):
            return cannot_stand_in(node, yes) or Found(node, yes, [])
        direct = []
        for index in equal:
            output, given = node.outputs[index], behind_identities(yes.outputs[index])
            if output is None or given is not behind_identities(no.outputs[index]):
                continue
            if output.readers and output.replaceable_by(given) is None:
                direct.append((output, given))
        return Found(node, None, direct) if direct else None

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Copy the branch before the If and remove the If, or read round it."""
        if match.branch is not None:
            stand_in(match.node, edit.inline(match.node, match.branch), edit)
        for output, given in match.direct:
            edit.replace(output, given)


def _alike(one: ValueView, other: ValueView) -> bool:
    """False where a look at the last nodes tells that the values differ."""
    first, second = behind_identities(one), behind_identities(other)
    if first is second or (first.is_constant and second.is_constant):
        return True
    if first.producer is None or second.producer is None:
        return False
    return first.producer.op_type == second.producer.op_type


def _equal_outputs(yes: GraphView, no: GraphView, wanted: list[int]) -> list[int]:
    """Which of the wanted outputs are equal: by type first, so that few constants are read."""
    found = wanted
    for content in (_type, _bytes):
        numbers: dict[object, int] = {}
        one, other = _numbered(yes, content, numbers), _numbered(no, content, numbers)
        found = [i for i in found if one(yes.outputs[i]) == other(no.outputs[i])]
        if not found:
            break
    return found


def _type(value: ValueView) -> object:
    return value.dtype, value.shape


def _bytes(value: ValueView) -> object:
    return value.digest()


def _numbered(
    body: GraphView, content: Content, numbers: dict[object, int]
) -> Callable[[ValueView | None], object]:
    """Number the values of a body so that equal expressions have equal numbers."""
    known: dict[ValueView, object] = {}

    def number(value: ValueView | None) -> object:
        if value is None:
            return None
        if value.is_constant:
            return numbers.setdefault(("constant", content(value)), len(numbers))
        return known.get(value, value)

    for node in body.nodes:
        if node.op_type == "Constant" and not node.is_opaque:
            continue
        if node.op_type == "Identity" and node.outputs[0] is not None:
            known[node.outputs[0]] = number(node.inputs[0])
            continue
        what = (operation_of(node), *map(number, node.inputs)) if is_repeatable(node) else node
        for index, value in enumerate(node.outputs):
            if value is not None:
                known[value] = numbers.setdefault((what, index), len(numbers))
    return number

"""The checks of contract_checks.py find what is broken, one promise at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from graphopt.contract import (
    AnyPass,
    Context,
    Editor,
    Effect,
    GraphView,
    NodeView,
    Rewrite,
    Skip,
)
from graphopt.engine import make_pass
from tests.passes.contract_checks import check_declaration, check_pass, check_situation
from tests.passes.situations import nothing_to_do


@dataclass(frozen=True)
class Found:
    """A node, and nothing more."""

    node: NodeView
    effect: Effect = Effect.IDENTICAL


@dataclass(frozen=True)
class NegateTwice:
    """A pass that never comes to rest: each run adds two nodes."""

    name: ClassVar[str] = "negate_twice"
    effect: ClassVar[Effect] = Effect.IDENTICAL

    def plan(self, graph: GraphView, context: Context) -> list[Rewrite | Skip]:
        """Put two Neg before the first node that has an input."""
        node = next(n for n in graph.nodes if n.inputs and n.inputs[0] is not None)

        def insert(edit: Editor) -> None:
            first = edit.insert("Neg", [node.inputs[0]], before=node)
            second = edit.insert("Neg", [first.outputs[0]], before=node)
            edit.set_input(node, 0, second.outputs[0])

        return [Rewrite("negate", Effect.IDENTICAL, insert)]


@dataclass(frozen=True)
class DropTanh:
    """A pass that is wrong: it takes Tanh for an Identity."""

    name: ClassVar[str] = "drop_tanh"
    effect: ClassVar[Effect] = Effect.IDENTICAL
    roots: ClassVar[tuple[str, ...]] = ("Tanh",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found:
        """Any Tanh."""
        return Found(node)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Bypass it."""
        before, after = match.node.inputs[0], match.node.outputs[0]
        assert before is not None
        assert after is not None
        edit.replace(after, before)
        edit.remove(match.node)


@dataclass(frozen=True)
class Misnamed(DropTanh):
    """A pass whose class is not called as its name asks."""


@dataclass
class Loose:
    """A pass that is not frozen."""

    name: ClassVar[str] = "loose"
    effect: ClassVar[Effect] = Effect.IDENTICAL

    def plan(self, graph: GraphView, context: Context) -> list[Rewrite | Skip]:
        """Nothing."""
        return []


@dataclass
class LooseEnds(Loose):
    """A pass that is not frozen, well named."""

    name: ClassVar[str] = "loose_ends"


BROKEN: list[tuple[AnyPass, str]] = [
    (Misnamed(), "class and name differ"),
    (Loose(), "name is not verb_object"),
    (LooseEnds(), "frozen"),
    (NegateTwice(), "second run|fixed point"),
    (DropTanh(), "taken back"),
]


@pytest.mark.parametrize(("instance", "promise"), BROKEN)
def test_the_checks_find_what_is_broken(instance: AnyPass, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_declaration(instance)
        check_situation(instance, nothing_to_do())


def test_check_pass_is_for_others_too() -> None:
    """What a plug-in's author calls."""
    check_pass(make_pass("eliminate_identity", {}))
    with pytest.raises(AssertionError, match=r"drop_tanh, situation 'nothing to do'"):
        check_pass(DropTanh())

"""Passes made for the tests of the engine: some right, some wrong in one chosen way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Rewrite, Skip


@dataclass(frozen=True, slots=True)
class Found:
    node: NodeView
    effect: Effect


Action = Callable[[NodeView, Editor], None]


class LocalPass:
    """Does `action` at every node of the root operators that `wanted` accepts."""

    name: ClassVar[str] = "test_local"
    effect: ClassVar[Effect] = Effect.ROUNDING

    def __init__(
        self,
        action: Action,
        root: str = "Relu",
        wanted: Callable[[NodeView], bool] = lambda node: True,
        states: Effect = Effect.IDENTICAL,
    ) -> None:
        self.action = action
        self.wanted = wanted
        self.states = states
        self.roots = (root,)  # type: ignore[misc]

    roots: ClassVar[tuple[str, ...]]

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        return Found(node, self.states) if self.wanted(node) else Skip("not wanted")

    def rewrite(self, match: Found, edit: Editor) -> None:
        self.action(match.node, edit)


class WholePass:
    """Plans what `steps` says."""

    name: ClassVar[str] = "test_whole"
    effect: ClassVar[Effect] = Effect.ROUNDING

    def __init__(self, steps: Callable[[GraphView], Iterable[Rewrite | Skip]]) -> None:
        self.steps = steps

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        return self.steps(graph)


@dataclass(frozen=True)
class ScaleConstants:
    """Replaces the factor `w` of each Mul by the same number, or by `wrong` at chosen roots."""

    name: ClassVar[str] = "scale_constants"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ("Mul",)

    at: tuple[str, ...] = ()
    wrong: float = 2.0

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | None:
        factor = node.inputs[1]
        if factor is None or factor.name != "w":
            return None
        return Found(node, Effect.ROUNDING)

    def rewrite(self, match: Found, edit: Editor) -> None:
        node = match.node
        output, factor = node.outputs[0], node.inputs[1]
        assert output is not None
        assert factor is not None
        array = np.array(self.wrong, np.float32) if output.name in self.at else factor.array()
        edit.set_input(node, 1, edit.constant(array, "factor", node.graph))


@dataclass(frozen=True)
class RoughenConstants(ScaleConstants):
    """ScaleConstants that changes values on purpose."""

    name: ClassVar[str] = "roughen_constants"
    effect: ClassVar[Effect] = Effect.LOSSY

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | None:
        found = super().match(node, graph, context)
        return found and Found(node, Effect.LOSSY)


@dataclass(frozen=True)
class OneAtATime:
    """Removes the first Identity it sees, and leaves the others to later rounds."""

    name: ClassVar[str] = "one_at_a_time"
    effect: ClassVar[Effect] = Effect.IDENTICAL

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        found = [node for node in graph.nodes if node.op_type == "Identity"]
        if found:
            root = found[0]
            yield Rewrite(output_name(root), Effect.IDENTICAL, lambda edit: bypass(root, edit))


def output_name(node: NodeView) -> str:
    """The name of a node's first output."""
    value = node.outputs[0]
    assert value is not None
    return value.name


def bypass(node: NodeView, edit: Editor) -> None:
    """Let the readers of a node's output read its input, and remove it."""
    before, after = node.inputs[0], node.outputs[0]
    assert before is not None
    assert after is not None
    edit.replace(after, before)
    edit.remove(node)


def do_nothing(node: NodeView, edit: Editor) -> None:
    """A rewrite without an edit."""


def chain(count: int) -> str:
    """The text of a model of so many Mul by the constant `w`, one behind the other."""
    lines = [f"t{i} = Mul({f't{i - 1}' if i else 'x'}, w)" for i in range(count)]
    return f"g (float[N] x) => (float[N] t{count - 1}) {{\n" + "\n".join(lines) + "\n}"


IDENTITY_MATMUL = """g (float[N,4] x) => (float[N,3] y) {
    t = Identity(x)
    u = MatMul(t, w)
    y = Relu(u)
}"""

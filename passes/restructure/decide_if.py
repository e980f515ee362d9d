"""Put one branch in the place of an If where the model could not run on with the other one.

Before: y = If(c) {then: Squeeze(x, 2)} {else: Identity(x)}, LSTM(Unsqueeze(y, 0))
After:  y = Squeeze(x, 2), LSTM(Unsqueeze(y, 0))       for x of rank 3: LSTM takes rank 3 alone

Exporters write such an If wherever a dimension may be 1. Each branch is assumed in turn, and the
ranks that follow from it are carried on through the nodes that read the results, the conditions of
further Ifs among them. Where an operator would get a rank that it cannot take, in the graph of the
If itself and on the way to one of its outputs, that branch is never taken by a model that runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from graphopt.contract import (
    Context,
    Editor,
    Effect,
    GraphView,
    NodeView,
    Rewrite,
    Skip,
    ValueView,
)
from graphopt.passes.restructure._bodies import cannot_stand_in, stand_in
from graphopt.passes.restructure._ranks import Assumed, Impossible, Known

_BRANCHES = ("else_branch", "then_branch")


@dataclass(frozen=True)
class DecideIf:
    """Inline the one branch of an If with which the rest of the graph can run.

    Fires on: silero_vad. Source: ONNX operators If (opsets 1 to 25), and the ranks that LSTM, GRU,
    RNN, Conv, ConvTranspose, Gemm and pooling take.
    """

    name: ClassVar[str] = "decide_if"
    effect: ClassVar[Effect] = Effect.IDENTICAL

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Look at every If; what one decision makes known counts from the next round on."""
        for scope in graph.nested():
            ifs = [node for node in scope.nodes if node.op_type == "If" and not node.is_opaque]
            readers = _Readers(scope) if ifs else None
            for node in ifs:
                if readers is not None and node.outputs:
                    yield from _decided(node, readers)


def _decided(node: NodeView, readers: _Readers) -> Iterable[Rewrite | Skip]:
    condition, branches = node.inputs[0], [node.bodies.get(name) for name in _BRANCHES]
    if condition is None or condition.is_constant or None in branches:
        return
    possible = [_can_run(node, condition, taken, readers) for taken in (False, True)]
    branch = branches[possible.index(True)] if sum(possible) == 1 else None
    if branch is None or branch.inputs or len(branch.outputs) != len(node.outputs):
        return
    refused = cannot_stand_in(node, branch)
    if refused:
        yield refused
        return
    root = next((v.label() for v in node.outputs if v is not None), node.label())
    yield Rewrite(root, Effect.IDENTICAL, _inlining(node, branch))


def _inlining(node: NodeView, branch: GraphView) -> Callable[[Editor], None]:
    return lambda edit: stand_in(node, edit.inline(node, branch), edit)


def _can_run(node: NodeView, condition: ValueView, taken: bool, readers: _Readers) -> bool:
    """False where an operator could not run once the condition were `taken`."""
    assumed = Assumed({condition: Known(_rank(condition), None, int(taken))})
    pending = deque([node])
    while pending:
        current = pending.popleft()
        try:
            new = assumed.evaluate(current)
        except Impossible:
            return not readers.reach_an_output(current)
        if new:
            pending += [n for v in current.outputs for n in readers.of(v) if n not in pending]
    return True


def _rank(condition: ValueView) -> int | None:
    """The rank of a condition, as far as it is known."""
    return None if condition.shape is None else len(condition.shape)


@dataclass(slots=True)
class _Readers:
    """Who reads a value in one graph: its nodes, where a body reads it the body's owner."""

    graph: GraphView
    _owners: dict[NodeView, NodeView] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.graph.nodes:
            self._owners[node] = node
            for body in node.bodies.values():
                for scope in body.nested():
                    self._owners.update((inner, node) for inner in scope.nodes)

    def of(self, value: ValueView | None) -> list[NodeView]:
        """Nodes of the graph that read a value; those that came later are not known."""
        uses = () if value is None else value.readers
        owners = (self._owners.get(use.node) for use in uses)
        return list(dict.fromkeys(owner for owner in owners if owner is not None))

    def reach_an_output(self, node: NodeView) -> bool:
        """True where an output of the graph depends on a node, so that no runtime leaves it out."""
        pending, seen = [node], {node}
        while pending:
            for value in pending.pop().outputs:
                if value is not None and value.is_graph_output:
                    return True
                following = [reader for reader in self.of(value) if reader not in seen]
                seen.update(following)
                pending += following
        return False

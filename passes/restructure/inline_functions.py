"""Put what a local function stands for in the place of its calls, where no more nodes remain.

Before: y = local.f(x), f(v) => (r) {a = Relu(v), r = Neg(a)}
After:  a = Relu(x), y = Neg(a)

A function goes with all of its calls: it was called once, it is small, or so much of it comes down
to constants where it is called that no more nodes remain. A function that nobody calls goes too.
Passes do not look into calls: what stands in their place can be folded and fused with what is
around. Left alone: functions of domains for which runtimes have kernels of their own, functions
written for another opset than their callers, and those whose constants would have to be copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Rewrite, Skip
from graphopt.passes.restructure._bodies import (
    cannot_stand_in,
    fold_away,
    needed_for,
    size_of,
    stand_in,
    stored_bytes,
)

_WITH_KERNELS = ("", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training")
_COPIED_BYTES = 1024
"""Constants of a function up to which more than one copy of them is made."""


@dataclass(frozen=True)
class InlineFunctions:
    """Inline local functions where that leaves no more nodes.

    Fires on synthetic graphs only among the catalogue's models. Source: ONNX local functions, IR
    version 8.
    """

    name: ClassVar[str] = "inline_functions"
    effect: ClassVar[Effect] = Effect.IDENTICAL

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Look at one function; for other graphs there is nothing to do."""
        calls = graph.calls() if graph.kind == "function" else None
        if calls is None:
            return
        refused = calls if isinstance(calls, Skip) else _refused(graph, calls)
        if refused or isinstance(calls, Skip):
            yield refused or Skip("the function cannot be inlined")
        else:
            yield Rewrite(graph.path, Effect.IDENTICAL, _inlining(graph, calls))


def _refused(function: GraphView, calls: Sequence[NodeView]) -> Skip | None:
    """Why the calls of a function stay; None where they go, or where there are none."""
    if any(c.domain in _WITH_KERNELS or c.domain.startswith("com.microsoft") for c in calls):
        return Skip("a runtime may have a kernel for it")
    unclear = next(filter(None, (cannot_stand_in(call, function) for call in calls)), None)
    if unclear:
        return unclear
    if len(calls) > 1 and stored_bytes(function) > _COPIED_BYTES:
        return Skip("its constants would be copied")
    before = len(calls) + sum(map(size_of, function.nodes))
    if sum(_left(function, call) for call in calls) > before:
        return Skip("more nodes would remain")
    return None


def _left(function: GraphView, call: NodeView) -> int:
    """How many nodes a call stands for, those that fold away not counted."""
    pairs = zip(function.inputs, call.inputs, strict=False)
    fixed = [inside for inside, given in pairs if given is not None and given.is_constant]
    return fold_away(needed_for(function, function.outputs), fixed)[1]


def _inlining(function: GraphView, calls: Sequence[NodeView]) -> Callable[[Editor], None]:
    def apply(edit: Editor) -> None:
        for call in calls:
            stand_in(call, edit.inline(call, function, call.inputs), edit)
        edit.remove_function(function)

    return apply

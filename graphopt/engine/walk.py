"""Running one pass over the graph, one recorded and checked rewrite at a time."""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import TypeIs

from graphopt.contract import AnyPass, Context, Effect, GraphPass, Match, Pass, Rewrite, Skip
from graphopt.errors import EditRefused, GraphoptError, PassError
from graphopt.graph import GraphEditor, Program, Transaction, graph_view
from graphopt.graph.check import broken
from graphopt.graph.elements import Node, Scope
from graphopt.graph.views import NodeHandle, node_view
from graphopt.report import LeftOut

_REWRITES_PER_NODE = 20

Blocked = set[tuple[str, str, int]]
"""(pass name, root, ordinal) of each rewrite that failed a check and stays out."""


@dataclass(slots=True)
class PassRun:
    """What one pass did in one round."""

    rewrites: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    left_out: list[LeftOut] = field(default_factory=list)
    wanted_opset: int = 0

    def refuse(self, *skips: Skip) -> None:
        """Count refusals, and the opset that would help."""
        self.skipped.update(skip.reason for skip in skips)
        self.wanted_opset = max([self.wanted_opset, *(skip.opset or 0 for skip in skips)])


@dataclass(slots=True)
class Walk:
    """One pass over one program.

    Attributes:
        admits: The strongest effect that the recipe allows.
        blocked: Rewrites that failed verification and stay out.
    """

    program: Program
    context: Context
    admits: Effect
    blocked: Blocked

    def run(self, instance: AnyPass) -> PassRun:
        """Run a pass to its own fixed point.

        Raises:
            PassError: The pass raised, or does not come to an end.
        """
        result = PassRun()
        for top in self.program.tops:
            if is_local(instance):
                self._local(instance, top, result)
            else:
                self._whole(instance, top, result)
        return result

    def _local(self, instance: Pass[Any], top: Scope, result: PassRun) -> None:
        roots = frozenset(instance.roots)
        queue = deque(n for scope in top.nested() for n in scope.ordered() if n.op in roots)
        queued = set(queue)
        refusals: dict[Node, Skip] = {}
        limit = _REWRITES_PER_NODE * (len(queue) + 10)
        while queue:
            node = queue.popleft()
            queued.discard(node)
            refusals.pop(node, None)
            if node not in node.scope.nodes or not _attached(node.scope):
                continue
            view = node_view(node, self.program)
            match = _looked_at(instance, view, self.context)
            if match is None:
                continue
            if isinstance(match, Skip):
                refusals[node] = match
                continue
            touched = self._apply(
                instance, _root_of(view), view.label(), match.effect,
                _rewriter(instance, match), result,
            )  # fmt: skip
            if isinstance(touched, Skip):
                refusals[node] = touched
                continue
            limit -= 1
            if limit < 0:
                raise PassError("does not come to an end", pass_name=instance.name)
            for neighbour in _neighbours(touched):
                if neighbour.op in roots and neighbour not in queued:
                    queue.append(neighbour)
                    queued.add(neighbour)
        result.refuse(*refusals.values())

    def _whole(self, instance: GraphPass, top: Scope, result: PassRun) -> None:
        plan = iter(instance.plan(graph_view(top, self.program), self.context))
        size = sum(len(scope.nodes) + len(scope.weights) for scope in top.nested())
        limit = _REWRITES_PER_NODE * (size + 10)
        while (step := _next_step(instance, plan)) is not None:
            limit -= 1
            if limit < 0:
                raise PassError("does not come to an end", pass_name=instance.name)
            if isinstance(step, Rewrite):
                outcome = self._apply(
                    instance, step.root, step.root, step.effect, step.apply, result
                )
                if isinstance(outcome, Skip):
                    result.refuse(outcome)
            else:
                result.refuse(step)

    def _apply(
        self,
        instance: AnyPass,
        root: str,
        label: str,
        effect: Effect,
        rewrite: Callable[[GraphEditor], None],
        result: PassRun,
    ) -> list[Node] | Skip:
        """Make one transaction; give the nodes it touched, or why it was not made."""
        if not effect.within(instance.effect):
            raise PassError(
                f"a rewrite is {effect}, the pass declares {instance.effect}",
                pass_name=instance.name, node=label,
            )  # fmt: skip
        if not effect.within(self.admits):
            return Skip(f"the recipe does not admit {effect} rewrites")
        journal = self.program.journal
        ordinal = journal.ordinal(instance.name, root)
        if (instance.name, root, ordinal) in self.blocked:
            return Skip("left out: it failed a check")
        transaction = Transaction(instance.name, root, label, ordinal, effect)
        editor = GraphEditor(self.program, transaction)
        try:
            with _blaming(instance, label):
                rewrite(editor)
                problem = broken(editor.touched, self.program.function_ids)
        except EditRefused as error:
            problem = str(error)
        except GraphoptError:
            transaction.undo()
            raise
        if problem:
            transaction.undo()
            self.blocked.add((instance.name, root, ordinal))
            result.left_out.append(LeftOut(instance.name, root, label, ordinal, problem))
            return Skip("left out: it failed a check")
        if not transaction.changes:
            raise PassError("made a rewrite without an edit", pass_name=instance.name, node=label)
        journal.append(transaction)
        result.rewrites += 1
        return list(editor.touched)


def _root_of(view: NodeHandle) -> str:
    """What names a root across undoing: its first output."""
    return next((value.label() for value in view.outputs if value is not None), view.label())


def is_local(instance: AnyPass) -> TypeIs[Pass[Any]]:
    """True for a pass that matches node by node, False for one that plans over the whole graph."""
    return hasattr(instance, "match")


@contextlib.contextmanager
def _blaming(instance: AnyPass, node: str | None = None) -> Iterator[None]:
    """Turn whatever a pass raises into an error that names it; graphopt's own errors pass."""
    try:
        yield
    except GraphoptError:
        raise
    except Exception as error:
        raise PassError(
            f"{type(error).__name__}: {error}", pass_name=instance.name, node=node
        ) from error


def _looked_at(instance: Pass[Any], view: NodeHandle, context: Context) -> Match | Skip | None:
    if view.is_opaque:
        return None
    with _blaming(instance, view.label()):
        found: Match | Skip | None = instance.match(view, view.graph, context)
    return found


def _rewriter(instance: Pass[Any], match: Match) -> Callable[[GraphEditor], None]:
    return lambda editor: instance.rewrite(match, editor)


def _next_step(instance: GraphPass, plan: Iterator[Rewrite | Skip]) -> Rewrite | Skip | None:
    with _blaming(instance):
        return next(plan, None)


def _attached(scope: Scope) -> bool:
    """False for a body whose node was removed while its own nodes were still queued."""
    while scope.owner is not None:
        if scope.owner not in scope.owner.scope.nodes:
            return False
        scope = scope.owner.scope
    return True


def _neighbours(touched: list[Node]) -> dict[Node, None]:
    found: dict[Node, None] = {}
    for node in touched:
        if node not in node.scope.nodes:
            continue
        found[node] = None
        for value in node.inputs:
            found.update(dict.fromkeys(value.inputs))
        for value in node.outputs:
            found.update(dict.fromkeys(value.outputs))
    return found

"""Marking nodes that the user wants left alone."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from graphopt.errors import UsageError
from graphopt.graph.closest import closest
from graphopt.graph.elements import Node
from graphopt.graph.program import Program
from graphopt.graph.views import node_view


def exclude_nodes(program: Program, patterns: Sequence[str]) -> tuple[str, ...]:
    """Mark the nodes that shell-style patterns match, in bodies and functions too.

    A pattern is matched with a node's name, with its label as reports print it (`OpType name`, or
    `OpType -> output` for a node without a name), and then with its first output's name. A name
    that is equal to the pattern matches too, whatever brackets it holds. What lies in the bodies
    of an excluded node is part of it; the nodes around an excluded one must stay, but what else
    lies in their bodies need not.

    Returns:
        The labels of the nodes matched, in graph order.

    Raises:
        UsageError: A pattern matches no node.
    """
    nodes = [node for scope in program.scopes() for node in scope.ordered()]
    if not patterns:
        return ()
    names = {node: _names(node, program) for node in nodes}
    matched: dict[Node, None] = {}
    for pattern in patterns:
        found = [node for node in nodes if any(_fits(name, pattern) for name in names[node])]
        if not found:
            known = (name for node in nodes for name in names[node])
            hint = closest(pattern, known)
            raise UsageError(f"no node fits {pattern!r}", file=program.model.path, hint=hint)
        matched.update(dict.fromkeys(found))
    for node in matched:
        _mark(node)
    return tuple(node_view(node, program).label() for node in nodes if node in matched)


def _names(node: Node, program: Program) -> tuple[str, ...]:
    label = node_view(node, program).label()
    if node.name:
        return str(node.name), label
    return label, next((value.name for value in node.outputs if value.name), label)


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _mark(node: Node) -> None:
    node.excluded = True
    for body in node.bodies.values():
        for scope in body.nested():
            for inner in scope.nodes:
                inner.excluded = True
    owner = node.scope.owner
    while owner is not None:
        owner.excluded = True
        owner = owner.scope.owner

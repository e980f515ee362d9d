"""Who calls a local function, and whether every call can give way to what it stands for."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.contract import Skip
from graphopt.graph.elements import Node, Scope
from graphopt.graph.program import Program
from graphopt.model.nodes import plain_domain


def function_calls(function: Scope, program: Program) -> Sequence[Node] | Skip | None:
    """The calls of a local function.

    Returns:
        None for a graph that is no function of the model, or none any more; Skip where a call
        cannot be replaced.
    """
    if function not in program.functions:
        return None
    named = [f for f in program.model.proto.functions if _key(f) == function.function_id]
    if len(named) > 1 or named[0].overload:
        return Skip("the function is overloaded")
    calls = []
    for scope in program.scopes():
        for node in scope.nodes:
            if any(attribute.graphs for attribute in node.attrs.values()):
                return Skip("a node holds a list of graphs, which may call functions")
            if (node.domain, node.op) == function.function_id:
                calls.append(node)
    if program.model.proto.training_info:
        return Skip("training information may call functions")
    refused = _inside(function, program) if calls else None
    return refused or next(filter(None, (_refused(c, function) for c in calls)), None) or calls


def _key(function: object) -> tuple[str, str]:
    return plain_domain(function.domain), str(function.name)  # type: ignore[attr-defined]


def _inside(function: Scope, program: Program) -> Skip | None:
    """Why what a function holds cannot stand in another graph."""
    scopes = function.nested()
    if any(node.excluded for scope in scopes for node in scope.nodes):
        return Skip("a node of the function is excluded")
    names = {name for scope in scopes[1:] for name in scope.names}
    if names & program.repeated:
        return Skip("a body in the function defines a name that another graph has too")
    return None


def _refused(call: Node, function: Scope) -> Skip | None:
    if call.scope.top() is function:
        return Skip("the function calls itself")
    if call.excluded:
        return Skip("a call is excluded")
    if len(call.inputs) > len(function.inputs) or len(call.outputs) > len(function.outputs):
        return Skip("a call does not fit the function")
    absent = function.inputs[len(call.inputs) :]
    absent += [v for v, given in zip(function.inputs, call.inputs, strict=False) if not given.name]
    if any(value in absent for value in function.outputs):
        return Skip("the function gives on an input that a call leaves out")
    used = {node.domain for scope in function.nested() for node in scope.nodes}
    if any(function.opsets.get(d) != call.scope.opsets.get(d) for d in used):
        return Skip("the function is written for other opsets")
    return None

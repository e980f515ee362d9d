"""When one value can stand for another, and why not."""

from __future__ import annotations

from graphopt.contract import Skip
from graphopt.graph.elements import Scope, Tensor, Weight


def refusal(old: Tensor, new: Tensor) -> Skip | None:
    """Why `new` cannot stand for `old`; None where it can."""
    scope: Scope | None = old.scope
    while scope is not None and scope is not new.scope:
        scope = scope.parent
    if scope is None:
        return Skip("the replacement is not visible there")
    if isinstance(new, Weight) and new.data.shape and any(n.op == "Range" for n in old.outputs):
        return Skip("Range does not load with a constant that is no scalar")
    if not old.output_of:
        return _shadowed(old, new)
    if new.scope is not old.scope:
        return Skip("a graph output cannot come from an enclosing graph")
    if new.output_of:
        return Skip("both values are graph outputs")
    if not old.inputs:
        return Skip("nothing computes that graph output")
    if isinstance(new, Weight) or new.is_input or not new.inputs:
        return Skip("a graph output would become an input or an initializer")
    return _shadowed(new, old)


def _shadowed(old: Tensor, new: Tensor) -> Skip | None:
    """A body may give the name of an outer value to a value of its own."""
    if any(reader.scope.look_up(new.name) is not new for reader in old.outputs):
        return Skip("the replacement's name means another value in a body that would read it")
    return None

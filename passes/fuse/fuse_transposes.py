"""Make one Transpose of two in a row.

Before: x -> Transpose(p) -> Transpose(q) -> y        After: x -> Transpose(p then q) -> y

Axis i of y is axis p[q[i]] of x. Where that leaves every axis in place, y is x and no Transpose
stays. Conditions: nothing else reads what lies between the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView


@dataclass(frozen=True, slots=True)
class Found:
    """Two Transposes, and the permutation of both together."""

    first: NodeView
    second: NodeView
    source: ValueView
    perm: list[int]
    effect: Effect = Effect.IDENTICAL


@dataclass(frozen=True)
class FuseTransposes:
    """Replace a Transpose of a Transpose by one, or by none where they undo each other.

    Fires on synthetic graphs only among the catalogue's models. Source: composition of
    permutations; ONNX operator Transpose, opsets 1 to 25.
    """

    name: ClassVar[str] = "fuse_transposes"
    effect: ClassVar[Effect] = Effect.IDENTICAL
    roots: ClassVar[tuple[str, ...]] = ("Transpose",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one Transpose."""
        between, target = node.inputs[0], node.outputs[0]
        first = between.producer if between is not None else None
        if between is None or target is None or first is None or first.op_type != "Transpose":
            return None
        source = first.inputs[0]
        if first.is_opaque or first.graph is not node.graph or source is None:
            return Skip("the first transpose is not a plain one beside the second")
        if between.is_graph_output or len(between.readers) != 1:
            return Skip("what lies between is read elsewhere")
        inner, outer = _perm(first), _perm(node)
        if inner is None or outer is None or len(inner) != len(outer):
            return Skip("the rank is not known")
        perm = [inner[axis] for axis in outer]
        if perm == sorted(perm):
            refused = target.replaceable_by(source)
            if refused:
                return refused
        return Found(first, node, source, perm)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Let the second do the work of both, or bypass it."""
        target = match.second.outputs[0]
        assert target is not None
        if match.perm == sorted(match.perm):
            edit.replace(target, match.source)
            edit.remove(match.second)
        else:
            edit.set_attribute(match.second, "perm", match.perm)
            edit.set_input(match.second, 0, match.source)
        edit.remove(match.first)


def _perm(node: NodeView) -> list[int] | None:
    """The permutation, written out; None where it reverses axes of an unknown number."""
    perm = node.attribute("perm")
    if perm is not None:
        return list(perm)
    source = node.inputs[0]
    shape = None if source is None else source.shape
    return None if shape is None else list(reversed(range(len(shape))))

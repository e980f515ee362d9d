"""Keep one of several equal constants.

Before: a = w1, b = w2, w1 and w2 equal bit by bit        After: both readers read w1

Equal means: same dtype, shape and bytes (so 0.0 and -0.0 differ, and a NaN equals its own bits).
Constant nodes count like initializers. A constant in a body gives way to one of an enclosing
graph. Tensors that could be equal are compared by their SHA-256, read block by block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, Rewrite, Skip, ValueView

Key = tuple[str, tuple[object, ...], int]


@dataclass(frozen=True)
class DeduplicateInitializers:
    """Let the readers of equal constants read the first of them.

    Fires on: silero_vad, ppocr_rec. Source: common subexpressions, on data.
    """

    name: ClassVar[str] = "deduplicate_initializers"
    effect: ClassVar[Effect] = Effect.IDENTICAL

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Go from the outermost graph inwards, with what each graph can see."""
        groups: dict[Key, list[ValueView]] = {}
        for scope in graph.nested():
            for value in _constants(scope):
                groups.setdefault(_key(value), []).append(value)
        for group in groups.values():
            if len(group) > 1:
                yield from _merge(group)


def _constants(scope: GraphView) -> Iterable[ValueView]:
    yield from scope.initializers
    for node in scope.nodes:
        value = node.outputs[0] if node.op_type == "Constant" and node.outputs else None
        if value is not None and value.is_constant and not node.is_opaque:
            yield value


def _key(value: ValueView) -> Key:
    return str(value.dtype), tuple(value.shape or ()), value.nbytes or 0


def _merge(group: list[ValueView]) -> Iterable[Rewrite | Skip]:
    kept: dict[bytes, list[ValueView]] = {}
    for value in group:
        equals = kept.setdefault(value.digest(), [])
        first = next((v for v in equals if value.replaceable_by(v) is None), None)
        if first is None or value.is_graph_output:  # it would only move: its name has to stay
            equals.append(value)
        else:
            yield Rewrite(value.label(), Effect.IDENTICAL, _merging(value, first))


def _merging(value: ValueView, first: ValueView) -> Callable[[Editor], None]:
    def merge(edit: Editor) -> None:
        producer = value.producer
        if value.readers:
            edit.replace(value, first)
        if producer is not None:
            edit.remove(producer)
        else:
            edit.remove_initializer(value)

    return merge

"""Work out shape arithmetic before the model runs, with symbols for open dimensions.

Before: x -> Shape -> Gather(0) -> Unsqueeze -> Concat(., 8, 64) -> Reshape(a, .)
After:  Reshape(a, [0, 8, 64])

Three kinds of rewrites, all of them identical:
- a computed integer tensor whose every element is known becomes a constant;
- the target of a Reshape becomes a constant where one is left: 0 for a dimension that is copied,
  -1 for at most one that is not known; that of an Expand, with 1 for dimensions that stay;
- integer tensors that are equal for every size of the open dimensions are computed once.

Dimensions are taken to be below 2**31, and products of them to fit into 64 bits; 32-bit arithmetic
on them is not followed. A target is left alone where an open entry might turn out 0 and copy a
dimension that is not. A -1 is never put beside a copied dimension, unless the
model's own target had it there: where the copied one is 0, ONNX could not tell the other.
Symbols are trusted where ONNX promises them, on the graph's inputs, and nowhere else.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from graphopt.contract import (
    Array,
    Context,
    Editor,
    Effect,
    GraphView,
    NodeView,
    Rewrite,
    Skip,
    ValueView,
)
from graphopt.passes.fold._contents import output_content
from graphopt.passes.fold._dims import output_dims, resolved
from graphopt.passes.fold._facts import Dims, Facts, integers, walk
from graphopt.passes.fold._sizes import Size

T = TypeVar("T")

Key = tuple[str, tuple[int, ...], tuple[Size, ...]]


@dataclass(frozen=True)
class FoldShapes:
    """Replace shape arithmetic by constants, targets with 0 and -1, and shared results.

    Fires on: ppocr_rec, silero_vad, magika. Source: symbolic shape evaluation over the operators'
    ONNX definitions; Reshape's 0, -1 and allowzero as in its opsets 5 to 25.
    """

    name: ClassVar[str] = "fold_shapes"
    effect: ClassVar[Effect] = Effect.IDENTICAL

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Learn all there is to know first, then rewrite; what was learnt stays true meanwhile."""
        nodes = walk(graph)
        facts = _learn(nodes)
        for node in nodes:
            yield from _constants(node, facts)
        for node in nodes:
            if node.op_type in _TARGETS and not node.is_opaque:
                yield from _target(node, facts)
        yield from _shared(graph, facts, {})


_MALFORMED = (IndexError, ValueError, ZeroDivisionError, RuntimeError, TypeError)
"""What rules raise on a node that no runtime would accept either (axes out of range)."""


def _learn(nodes: Iterable[NodeView]) -> Facts:
    facts = Facts()
    for node in nodes:
        known = list(_told(output_dims, node, facts) or [])
        for index, value in enumerate(node.outputs):
            if value is not None:
                facts.learn(value, known[index] if index < len(known) else None, None)
        first = node.outputs[0] if node.outputs else None
        if first is not None and node.op_type != "Constant":
            content = _told(output_content, node, facts)
            if content is not None:
                facts.learn(first, facts.dims(first), content)
    return facts


def _told(rule: Callable[[NodeView, Facts], T], node: NodeView, facts: Facts) -> T | None:
    """What a rule tells of a node; nothing where the node is not what its operator asks for."""
    if node.is_opaque:
        return None
    try:
        return rule(node, facts)
    except _MALFORMED:
        return None


def _constants(node: NodeView, facts: Facts) -> Iterator[Rewrite]:
    value = node.outputs[0] if node.outputs else None
    if value is None or value.is_constant or value.is_graph_output or value.dtype is None:
        return
    known = integers(facts.content(value))
    if known is None or not _is_needed(value, facts):
        return
    array = known.astype(value.dtype)
    yield Rewrite(value.label(), Effect.IDENTICAL, _replacing(value, array))


def _is_needed(value: ValueView, facts: Facts) -> bool:
    """False where all that reads a value becomes a constant itself."""
    for use in value.readers:
        results = [v for v in use.node.outputs if v is not None]
        if any(integers(facts.content(v)) is None or v.is_graph_output for v in results):
            return True
    return False


def _replacing(value: ValueView, array: Array) -> Callable[[Editor], None]:
    def replace(edit: Editor) -> None:
        edit.replace(value, edit.constant(array, value.name, value.graph))

    return replace


def _target(node: NodeView, facts: Facts) -> Iterator[Rewrite | Skip]:
    target = node.inputs[1] if len(node.inputs) > 1 else None
    content = facts.content(target)
    if target is None or content is None or content.ndim != 1 or integers(content) is not None:
        return
    source = facts.dims(node.inputs[0])
    found = None if source is None else _TARGETS[node.op_type](node, list(content), source)
    if found is None:
        yield Skip("more than one dimension of the target is open")
        return
    array = np.array(found, dtype=np.int64)

    def give(edit: Editor) -> None:
        edit.set_input(node, 1, edit.constant(array, target.name, node.graph))

    yield Rewrite(_root(node), Effect.IDENTICAL, give)


def _root(node: NodeView) -> str:
    return next((value.label() for value in node.outputs if value is not None), node.label())


def _reshape_target(node: NodeView, target: list[Size], source: Dims) -> list[int] | None:
    allowzero = bool(node.attribute("allowzero", 0))
    dims = resolved(target, source, allowzero=allowzero)
    if dims is None and any(e.integer is None and e not in source for e in target):
        return None
    found: list[int] = []
    for index, entry in enumerate(dims or target):
        copied = index < len(source) and entry == source[index]
        if entry.integer is not None:
            found.append(entry.integer)
        else:
            found.append(0 if copied and not allowzero else -1)
    opened = [index for index, entry in enumerate(found) if entry == -1]
    if len(opened) > 1 or (opened and 0 in found and target[opened[0]].integer != -1):
        return None
    literal = any(entry.integer == 0 for entry in dims or ())
    return None if literal and not allowzero else found


def _expand_target(node: NodeView, target: list[Size], source: Dims) -> list[int] | None:
    found = []
    for index, entry in enumerate(target):
        axis = index - len(target) + len(source)
        if entry.integer is not None:
            found.append(entry.integer)
        elif axis >= 0 and entry == source[axis]:
            found.append(1)
        else:
            return None
    return found


_TARGETS: dict[str, Callable[[NodeView, list[Size], Dims], list[int] | None]] = {
    "Reshape": _reshape_target,
    "Expand": _expand_target,
}


def _shared(
    graph: GraphView, facts: Facts, seen: MutableMapping[Key, ValueView]
) -> Iterator[Rewrite]:
    """Let later values that hold the same sizes give way to the first one."""
    for node in graph.nodes:
        for body in node.bodies.values():
            yield from _shared(body, facts, ChainMap({}, seen))
        value = node.outputs[0] if node.outputs else None
        content = facts.content(value)
        if value is None or content is None or integers(content) is not None:
            continue
        key = (str(value.dtype), content.shape, tuple(content.ravel()))
        first = seen.setdefault(key, value)
        if first is not value and value.readers and value.replaceable_by(first) is None:
            yield Rewrite(value.label(), Effect.IDENTICAL, _merging(value, first))


def _merging(value: ValueView, first: ValueView) -> Callable[[Editor], None]:
    return lambda edit: edit.replace(value, first)

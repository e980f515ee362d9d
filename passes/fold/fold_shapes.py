"""Work out shape arithmetic before the model runs, with symbols for open dimensions.

Before: x -> Shape -> Gather(0) -> Unsqueeze -> Concat(., 8, 64) -> Reshape(a, .)
After:  Reshape(a, [0, 8, 64])

Four kinds of rewrites, all of them identical:
- a computed integer tensor whose every element is known becomes a constant;
- the target of a Reshape becomes a constant where one is left: 0 for a dimension that is copied,
  -1 for at most one that is not known; that of an Expand, with 1 for dimensions that stay;
- integer tensors that are equal for every size of the open dimensions are computed once;
- what is left is computed by fewer nodes: a Shape with start and end for Shape, Gather, Unsqueeze.

Dimensions are taken to be below 2**31, and products of them to fit into 64 bits; 32-bit arithmetic
on them is not followed. At most one open size is taken to be 0 in a run; a target is left alone
where an open entry might then copy a dimension that is not 0. A -1 is never put beside a copied
dimension that may be 0, unless the model's own target had it there: ONNX could not tell the -1.
Symbols are trusted where ONNX promises them, on the graph's inputs, and nowhere else.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import ClassVar

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
from graphopt.passes._operations import may_be_constant
from graphopt.passes.fold._facts import Dims, Facts, integers, walk
from graphopt.passes.fold._learnt import learnt
from graphopt.passes.fold._shorter import shortened
from graphopt.passes.fold._sizes import Size
from graphopt.passes.fold._targets import expand_target, own_reshape_target

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
        facts = learnt(graph, nodes, context)
        for node in nodes:
            yield from _constants(node, facts)
        for node in nodes:
            if node.op_type in _TARGETS and not node.is_opaque:
                yield from _target(node, facts)
        yield from _shared(graph, facts, {})
        yield from shortened(graph, facts)


def _constants(node: NodeView, facts: Facts) -> Iterator[Rewrite]:
    value = node.outputs[0] if node.outputs else None
    if value is None or value.is_constant or value.is_graph_output or value.dtype is None:
        return
    known = integers(facts.content(value))
    if known is None or not may_be_constant(value) or not _is_needed(value, facts):
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
    found = None if source is None else _TARGETS[node.op_type](node, list(content), source, facts)
    if found is None:
        yield Skip("more than one dimension of the target is open")
        return
    array = np.array(found, dtype=np.int64)
    copies = 0 in found and not any(entry.integer == 0 for entry in content)

    def give(edit: Editor) -> None:
        edit.set_input(node, 1, edit.constant(array, target.name, node.graph))
        if copies and node.attribute("allowzero", 0):
            edit.set_attribute(node, "allowzero", None)

    yield Rewrite(_root(node), Effect.IDENTICAL, give)


def _root(node: NodeView) -> str:
    return next((value.label() for value in node.outputs if value is not None), node.label())


_TARGETS: dict[str, Callable[[NodeView, list[Size], Dims, Facts], list[int] | None]] = {
    "Reshape": own_reshape_target,
    "Expand": expand_target,
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

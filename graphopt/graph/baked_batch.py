"""Nodes that hold the batch as a constant, rewritten to take it from an input.

At the batch that the model was made for, each rewrite gives what the node gave before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from onnx import GraphProto, NodeProto, TypeProto

from graphopt.contract import Dim
from graphopt.graph.batch_work import BatchWork
from graphopt.model import Model
from graphopt.model.nodes import STANDARD_DOMAINS, free_reads

Dims = tuple[Dim, ...]


def unbake(
    model: Model, graph: GraphProto, inputs: Sequence[str], size: int,
    types: Mapping[str, TypeProto],
) -> tuple[set[str], list[str]]:  # fmt: skip
    """Rewrite the nodes of a main graph that bake the batch in.

    Args:
        model: The model that the graph is of.
        graph: A copy of its main graph; it is changed.
        inputs: The inputs whose dimension 0 is the batch.
        size: The batch that the model was made for.
        types: Types of values at that batch.

    Returns:
        The values that depend on the batch, and the operator of each node that was rewritten.
    """
    work = BatchWork(model, graph, inputs[0], size, types, set(inputs))
    rewritten = []
    nodes: list[NodeProto] = []
    for node in list(graph.node):
        rule = _RULES.get(node.op_type) if node.domain in STANDARD_DOMAINS else None
        if rule is not None and rule(work, node):
            rewritten.append(node.op_type)
        nodes += [*work.before, node]
        work.before.clear()
        if not work.reached.isdisjoint(free_reads(node)):
            work.reached.update(filter(None, node.output))
    del graph.node[:]
    graph.node.extend([*work.first, *nodes])
    return work.reached, rewritten


def _reshape(work: BatchWork, node: NodeProto) -> bool:
    """[B, a, b] -> [-1, a, b]; [B, -1, b] -> [0, -1, b] where the input has the batch there."""
    target = work.sizes(node, 1)
    if target is None or not target.values or node.input[0] not in work.reached:
        return False
    keeps_zero = bool(_attribute(node, "allowzero", 0))
    if keeps_zero and 0 in target.values:
        return False
    given = work.dims(node.input[0])
    if -1 not in target.values:
        place = _batch_place(target.values, given or (), work.size)
        new = {} if place is None else {place: -1}
    else:
        result = work.dims(node.output[0]) or ()
        new = _beside_free(target.values, given or (), result, work.size, keeps_zero=keeps_zero)
    if new:
        node.input[1] = work.replaced(target, new)
    elif -1 in target.values and target.values[0] == work.size and not _known(given):
        node.input[1] = work.with_batch(target)
    else:
        return False
    return True


def _known(dims: Dims | None) -> bool:
    """True when it is known what stands in dimension 0."""
    return bool(dims) and dims is not None and dims[0] is not None


def _batch_place(target: Sequence[int | None], given: Dims, size: int) -> int | None:
    """Which size of a target without -1 holds the batch, if one does.

    It is the one with as much before it as the batch has before it in what is reshaped. To write -1
    there leaves a result alone that has as many elements at any batch.
    """
    axis = given.index(size) if size in given else 0
    wanted = _product([dim or f"dimension {k}" for k, dim in enumerate(given[:axis])])
    sizes = [
        given[k] or f"dimension {k}" if value == 0 and k < len(given) else value
        for k, value in enumerate(target)
    ]
    fitting = [
        k
        for k, value in enumerate(target)
        if value and value % size == 0 and _product(sizes[:k]) == wanted
    ]
    return next((k for k in fitting if target[k] == size), fitting[0] if fitting else None)


def _product(sizes: Sequence[int | str | None]) -> tuple[int, list[str]]:
    """A product of sizes and symbols; what is computed is no symbol like any other."""
    number = math.prod(size for size in sizes if isinstance(size, int))
    return number, sorted(size or "computed" for size in sizes if not isinstance(size, int))


def _beside_free(
    target: Sequence[int | None], given: Dims, result: Dims, size: int, *, keeps_zero: bool
) -> dict[int, int]:
    """What to change in a target that has a -1, by position; nothing where that is not clear.

    A 0 copies the input's dimension. Else the -1 moves to the front, where its size is known.
    """
    for place, (wanted, had) in enumerate(zip(target, given, strict=False)):
        if wanted == had == size and not keeps_zero:
            return {place: 0}
    free = target.index(-1)
    known = result[free] if free < len(result) else None
    return {0: -1, free: known} if target[0] == size and isinstance(known, int) else {}


def _expand(work: BatchWork, node: NodeProto) -> bool:
    """[B, a] -> [1, a] where the input has the batch itself, else with the batch of an input."""
    shape = work.sizes(node, 1)
    if shape is None or len(shape.values) < 2 or shape.values[0] != work.size:
        return False
    dims = work.dims(node.input[0]) or ()
    if node.input[0] in work.reached and len(dims) == len(shape.values):
        if work.size == 1 or dims[0] != work.size:
            return False
        node.input[1] = work.replaced(shape, {0: 1})
        return True
    node.input[1] = work.with_batch(shape)
    work.reached.add(node.output[0])
    return True


def _constant_of_shape(work: BatchWork, node: NodeProto) -> bool:
    """[B, a] -> with the batch of an input; a vector is left alone: it may be a shape itself."""
    shape = work.sizes(node, 0)
    if shape is None or len(shape.values) < 2 or shape.values[0] != work.size:
        return False
    node.input[0] = work.with_batch(shape)
    work.reached.add(node.output[0])
    return True


def _resize(work: BatchWork, node: NodeProto) -> bool:
    """Sizes [B, c, h, w] -> with the batch of an input."""
    sizes = work.sizes(node, 3)
    if sizes is None or node.input[0] not in work.reached:
        return False
    if not sizes.values or sizes.values[0] != work.size:
        return False
    if any(attribute.name == "axes" for attribute in node.attribute):
        return False
    node.input[3] = work.with_batch(sizes)
    return True


def _concat(work: BatchWork, node: NodeProto) -> bool:
    """A part [B, a, b] of equal rows beside parts that have the batch is repeated for it."""
    axis = _attribute(node, "axis", 0)
    if work.reached.isdisjoint(node.input):
        return False
    done = False
    for index, name in enumerate(node.input):
        dims = work.dims(name)
        if name in work.reached or not dims or dims[0] != work.size or axis in (0, -len(dims)):
            continue
        row = name if work.size == 1 else work.row(name)
        if row:
            node.input[index] = work.repeated(row, len(dims))
            done = True
    return done


def _recurrent(work: BatchWork, node: NodeProto) -> bool:
    """Zero initial states, which have the batch in them, are what an omitted input means."""
    done = False
    if node.input[0] not in work.reached:
        return False
    for index in (5, 6):
        if index < len(node.input) and node.input[index] and work.is_zero(node.input[index]):
            node.input[index] = ""
            done = True
    return done


_RULES: dict[str, Callable[[BatchWork, NodeProto], bool]] = {
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "RNN": _recurrent,
    "Reshape": _reshape,
    "Resize": _resize,
}


def _attribute(node: NodeProto, name: str, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)

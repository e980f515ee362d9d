"""Multiply a tensor of any rank at once, where it was flattened for a Gemm and shaped back.

Before: x -> Reshape([-1, K]) -> Gemm(B, C) -> Reshape([*leading dims of x, N]) -> y
After:  x -> MatMul(B) -> Add(C) -> y

MatMul multiplies the last dimension and leaves the others as they are. The arithmetic that computes
the last target has no reader then. alpha, beta and transB go into the constants.

Conditions: x has at least 3 dimensions, the last of which is K for certain; the first Reshape (or
Flatten) makes a matrix of it, whose second dimension is K because the Gemm needs it so; the last
one is proven to give exactly the leading dimensions of x back, from constants or shape arithmetic
over symbols; B is a constant of a floating-point type; C is left out or a row; nothing else reads
the product. Where others read the first Reshape, it stays; at least one node must go away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
from graphopt.passes.fold._dims import resolved
from graphopt.passes.fold._facts import Dims, Facts, walk
from graphopt.passes.fold._learnt import learnt
from graphopt.passes.fold._sizes import product, size
from graphopt.passes.fuse._conv import FLOATS, quiet, vanishes
from graphopt.passes.fuse._linears import insert_linear


@dataclass(frozen=True, slots=True)
class _Found:
    """The three nodes, and the constants that are new.

    Attributes:
        weight: None where the Gemm's own serves.
        addend: None where the Gemm's own serves, or none is needed.
    """

    flatten: NodeView
    gemm: NodeView
    restore: NodeView
    source: ValueView
    weight: Array | None
    addend: Array | ValueView | None


@dataclass(frozen=True)
class FuseReshapedGemm:
    """Make MatMul and Add of a Gemm between a flattening Reshape and the one that undoes it.

    Fires on synthetic graphs only among the catalogue's models. Source: ONNX operators Gemm,
    opsets 7 to 13, MatMul, and Reshape, opsets 5 to 25; symbolic shapes as in fold_shapes.
    """

    name: ClassVar[str] = "fuse_reshaped_gemm"
    effect: ClassVar[Effect] = Effect.ROUNDING

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Look for the three nodes first; shapes are worked out only where they stand."""
        nodes = walk(graph)
        found = [nodes_of for node in nodes if (nodes_of := _three(node)) is not None]
        if not found or graph.opset() < 7:
            return
        facts = learnt(graph, nodes, context)
        for three in found:
            match = _looked_at(*three, facts)
            if isinstance(match, Skip):
                yield match
                continue
            target = match.restore.outputs[0]
            assert target is not None
            yield Rewrite(target.label(), Effect.ROUNDING, _rewriting(match))


def _three(gemm: NodeView) -> tuple[NodeView, NodeView, NodeView] | None:
    """What flattens, the Gemm, and what may undo the former; None where they are not there."""
    if gemm.op_type != "Gemm" or gemm.is_opaque or gemm.attribute("transA", 0):
        return None
    matrix, result = gemm.inputs[0], gemm.outputs[0]
    flatten = matrix.producer if matrix is not None else None
    if flatten is None or flatten.op_type not in ("Reshape", "Flatten") or result is None:
        return None
    restore = result.readers[0].node if result.readers else None
    if restore is None or restore.op_type != "Reshape" or restore.outputs[0] is None:
        return None
    return flatten, gemm, restore


def _looked_at(flatten: NodeView, gemm: NodeView, restore: NodeView, facts: Facts) -> _Found | Skip:
    result, source, stored = gemm.outputs[0], flatten.inputs[0], gemm.inputs[1]
    assert result is not None
    if flatten.is_opaque or restore.is_opaque or not flatten.graph is gemm.graph is restore.graph:
        return Skip("the reshapes are not plain ones beside the gemm")
    if result.is_graph_output or len(result.readers) != 1:
        return Skip("the product is read elsewhere")
    if source is None or stored is None or not stored.is_constant or stored.dtype not in FLOATS:
        return Skip("the weight is not a constant of a floating-point type")
    shape = stored.shape if stored.shape is not None else stored.array().shape
    if len(shape) != 2 or 0 in shape:
        return Skip("the weight is no matrix, or an empty one")
    depth, columns = (int(str(n)) for n in (reversed(shape) if _flipped(gemm) else shape))
    dims = facts.dims(source)
    if dims is None or len(dims) < 3 or dims[-1].integer != depth:
        return Skip("what is flattened is not known to end in the weight's depth")
    if not _is_matrix(flatten, facts):
        return Skip("what is flattened is not known to become a matrix")
    if not _restores(restore, dims[:-1], columns, facts):
        return Skip("the second reshape is not known to undo the first")
    return _constants(_Found(flatten, gemm, restore, source, None, None), stored, columns, facts)


def _is_matrix(flatten: NodeView, facts: Facts) -> bool:
    dims = facts.dims(flatten.outputs[0])
    if dims is not None or flatten.op_type == "Flatten":
        return dims is None or len(dims) == 2
    target = facts.content(flatten.inputs[1]) if len(flatten.inputs) > 1 else None
    return target is not None and target.shape == (2,)


def _restores(node: NodeView, leading: Dims, columns: int, facts: Facts) -> bool:
    """Tell whether a Reshape of [product of `leading`, columns] gives [*leading, columns]."""
    target = facts.content(node.inputs[1]) if len(node.inputs) > 1 else None
    if target is None or target.ndim != 1:
        return False
    flat = (product(leading), size(columns))
    allowzero = bool(node.attribute("allowzero", 0))
    found = resolved(list(target), flat, allowzero=allowzero, nonzero=facts.nonzero)
    return found == (*leading, size(columns))


def _flipped(gemm: NodeView) -> bool:
    return bool(gemm.attribute("transB", 0))


def _constants(found: _Found, stored: ValueView, columns: int, facts: Facts) -> _Found | Skip:
    """The factors and the row to add, changed where the Gemm's attributes ask for it."""
    gemm = found.gemm
    addend = _addend(gemm, stored, columns, facts)
    if isinstance(addend, Skip):
        return addend
    if not _helps(found, adds=addend is not None):
        return Skip("no fewer nodes would remain")
    alpha = float(gemm.attribute("alpha", 1.0))
    if alpha == 1 and not _flipped(gemm):
        return _Found(found.flatten, gemm, found.restore, found.source, None, addend)
    if len(stored.readers) != 1:
        return Skip("the weight is shared")
    weight = _scaled(stored.array().T if _flipped(gemm) else stored.array(), alpha)
    if isinstance(weight, Skip):
        return weight
    return _Found(found.flatten, gemm, found.restore, found.source, weight, addend)


def _addend(
    gemm: NodeView, stored: ValueView, columns: int, facts: Facts
) -> Array | ValueView | Skip | None:
    value = gemm.inputs[2] if len(gemm.inputs) > 2 else None
    if value is None:
        return None
    dims = facts.dims(value)
    shape = None if dims is None else [dim.integer for dim in dims]
    if shape not in ([], [1], [columns], [1, 1], [1, columns]):
        return Skip("the addend is not a row")
    if value.dtype != stored.dtype:
        return Skip("parameters of different types")
    beta = float(gemm.attribute("beta", 1.0))
    if beta == 1:
        return value
    return _scaled(value.array(), beta) if value.is_constant else Skip("the addend is scaled")


def _scaled(array: Array, factor: float) -> Array | Skip:
    if factor == 1:
        return np.ascontiguousarray(array)
    with quiet():
        wide = array.astype(np.float64) * factor
        new = np.ascontiguousarray(wide.astype(array.dtype))
    if factor == 0 or not np.isfinite(new).all():
        return Skip("a fused parameter is not finite, or 0")
    if vanishes(wide.reshape(1, -1), array.reshape(1, -1)):
        return Skip("a fused parameter is too small for its type")
    return new


def _helps(found: _Found, *, adds: bool) -> bool:
    """Tell whether a node goes away, at the latest when the other readers are rewritten too."""
    matrix = found.flatten.outputs[0]
    if not adds or matrix is None:
        return True
    alone = all(_three(use.node) is not None for use in matrix.readers)
    return alone and not matrix.is_graph_output


def _rewriting(found: _Found) -> Callable[[Editor], None]:
    gemm, graph = found.gemm, found.gemm.graph

    def rewrite(edit: Editor) -> None:
        target, weight, addend = found.restore.outputs[0], gemm.inputs[1], found.addend
        assert target is not None
        assert weight is not None
        name = weight.name
        if found.weight is not None:
            weight = edit.constant(found.weight, f"{name}_factor", graph)
        if isinstance(addend, np.ndarray):
            addend = edit.constant(addend, f"{name}_bias", graph)
        made = insert_linear(edit, [found.source, weight], addend, before=found.restore)
        edit.adopt(made, 0, target)
        edit.remove(found.restore)
        edit.remove(gemm)
        matrix = found.flatten.outputs[0]
        if matrix is not None and not matrix.readers and not matrix.is_graph_output:
            edit.remove(found.flatten)

    return rewrite

"""Two linear maps in a row as one: what their weights become."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod

import numpy as np

from graphopt.contract import Array, GraphView, NodeView, Skip, ValueView
from graphopt.passes.fuse._conv import Parameters, parameters_of, quiet


class Reads:
    """How often each value is read in a graph and its bodies, counted once, when first asked for.

    Rewrites meanwhile leave counts that are too high at most: a later round sees the new ones.
    """

    def __init__(self, graph: GraphView) -> None:
        self._graph = graph
        self._counts: Counter[ValueView] | None = None

    def once(self, value: ValueView) -> bool:
        """True where one node reads it in one place."""
        if self._counts is None:
            nodes = [node for scope in self._graph.nested() for node in scope.nodes]
            self._counts = Counter(v for node in nodes for v in node.inputs if v is not None)
        return self._counts[value] == 1 if value in self._counts else len(value.readers) == 1

    def freed(self, weights: Sequence[ValueView]) -> int:
        """Elements of those weights that go away with their one reader."""
        return sum(
            prod(dim for dim in weight.shape or () if isinstance(dim, int))
            for weight in weights
            if not weight.is_graph_output and self.once(weight)
        )


def checked(weight: Array, bias: Array | None, like: Array, axis: int) -> Parameters | Skip:
    """New parameters in the type of the old ones; a refusal where it cannot hold them.

    Args:
        weight: float64.
        bias: float64, a number for each output.
        like: An old weight.
        axis: Of the weight, which counts the outputs.
    """
    info = np.finfo(like.dtype)
    with quiet():
        found = Parameters(
            weight.astype(like.dtype), None if bias is None else bias.astype(like.dtype)
        )
    arrays = (found.weight, *([] if found.bias is None else [found.bias]))
    if not all(np.isfinite(array).all() for array in arrays):
        return Skip("a fused parameter is not finite")
    largest = np.abs(np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)).max(axis=1)
    if ((largest > 0) & (largest < info.smallest_normal)).any():
        return Skip("a fused parameter is too small for its type")
    return found


def convs(first: NodeView, second: NodeView, reads: Reads) -> tuple[Parameters, bool] | Skip:
    """Parameters of the one Conv, and whether it is the second one that stays.

    Args:
        first: A plain Conv that `second`, a plain Conv too, alone reads.
        second: The one behind it.
        reads: Of their graph.
    """
    ones = [_is_pointwise(conv) for conv in (first, second)]
    if not any(ones) or any(conv.attribute("group", 1) != 1 for conv in (first, second)):
        return Skip("neither conv is a plain one of kernel 1")
    sizes = [_sizes(conv) for conv in (first, second)]
    if any(size is None for size in sizes):
        return Skip("a parameter is not a constant")
    (inner, channels, *kernel), (outer, _, *kernel2) = (size or [] for size in sizes)
    area = prod(kernel) * prod(kernel2)
    bare = not _is_padded(second)
    # Where the second one pads, the first may be computed at fewer places than it.
    before = inner * channels * prod(kernel) if bare else 0
    fused = outer * channels * area
    if fused > before + outer * inner * prod(kernel2):
        return Skip("more would be computed")
    weights = [conv.inputs[1] for conv in (first, second)]
    if fused > reads.freed([weight for weight in weights if weight is not None]):
        return Skip("the weight would be larger than both")
    given = [parameters_of(conv) for conv in (first, second)]
    pair = [entry for entry in given if isinstance(entry, Parameters)]
    if len(pair) < 2 or pair[0].weight.dtype != pair[1].weight.dtype:
        return Skip("parameters of different or unusual types")
    silent = pair[0].bias is None or not pair[0].bias.any()
    if not ones[1] and not (bare or silent):
        return Skip("the second conv pads what the first one adds to")
    made = _product(*pair)
    return made if isinstance(made, Skip) else (made, not ones[1])


def _product(first: Parameters, second: Parameters) -> Parameters | Skip:
    if not all(np.isfinite(entry.weight).all() for entry in (first, second)):
        return Skip("a fused parameter is not finite")
    inner, outer = (entry.weight.astype(np.float64) for entry in (first, second))
    spatial = range(2, outer.ndim)
    if prod(outer.shape[2:]) == 1:
        weight = np.tensordot(outer.reshape(outer.shape[:2]), inner, axes=(1, 0))
    else:
        weight = np.tensordot(outer, inner.reshape(inner.shape[:2]), axes=(1, 0))
        weight = np.moveaxis(weight, -1, 1)
    bias = None if second.bias is None else second.bias.astype(np.float64)
    if first.bias is not None:
        moved = outer.sum(axis=tuple(spatial)) @ first.bias.astype(np.float64)
        bias = moved if bias is None else bias + moved
    bias = np.zeros(len(weight)) if bias is None else bias
    return checked(np.ascontiguousarray(weight), bias, first.weight, 0)


def _sizes(conv: NodeView) -> list[int] | None:
    weight = conv.inputs[1] if len(conv.inputs) > 1 else None
    if weight is None or not weight.is_constant or weight.shape is None or len(weight.shape) < 3:
        return None
    sizes = [dim for dim in weight.shape if isinstance(dim, int) and dim > 0]
    return sizes if len(sizes) == len(weight.shape) else None


def _is_pointwise(conv: NodeView) -> bool:
    """True for a kernel of 1 that visits every place once, and no padding."""
    sizes = _sizes(conv)
    strides = conv.attribute("strides") or [1]
    return sizes is not None and {*sizes[2:], *strides} == {1} and not _is_padded(conv)


def _is_padded(conv: NodeView) -> bool:
    automatic = conv.attribute("auto_pad", "NOTSET")
    return automatic not in ("NOTSET", "VALID") or any(conv.attribute("pads") or [])

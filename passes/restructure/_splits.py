"""Split in the form that an opset has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.contract import Editor, NodeView, ValueView

FIRST_OPSET = 2
"""Before it, Split knows a few types alone."""


def split(
    edit: Editor, value: ValueView, axis: int, sizes: Sequence[int], *, before: NodeView
) -> NodeView:
    """Insert a Split of `value` along `axis` into parts of the given sizes.

    Equal parts need no sizes: up to opset 17 they are what Split does, from 18 on it asks for
    their number.
    """
    graph = before.graph
    inputs, attributes = [value], dict[str, Any](axis=axis)
    if len(set(sizes)) == 1:
        if graph.opset() >= 18:
            attributes["num_outputs"] = len(sizes)
    elif graph.opset() < 13:
        attributes["split"] = list(sizes)
    else:
        numbers = np.array(sizes, dtype=np.int64)
        inputs.append(edit.constant(numbers, f"{value.name}_split", graph))
    return edit.insert(
        "Split", inputs, before=before, outputs=len(sizes), attributes=attributes, hint=value.name
    )


def sizes_of(node: NodeView) -> list[int] | None:
    """Lengths of a Split's parts; None where they are not known."""
    source = node.inputs[0]
    sizes = node.attribute("split")
    if sizes is not None:
        return [int(size) for size in sizes]
    given = node.inputs[1] if len(node.inputs) > 1 else None
    if given is not None:
        return [int(size) for size in given.array()] if given.is_constant else None
    if source is None or source.shape is None:
        return None
    axis, count = node.attribute("axis", 0), len(node.outputs)
    length = source.shape[axis] if -len(source.shape) <= axis < len(source.shape) else None
    if not isinstance(length, int) or length % count:
        return None
    return [length // count] * count

"""Multiply-accumulates of a node as it was executed: from shapes that were seen, not inferred."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from onnx import NodeProto, defs, helper

from graphopt.graph.macs import RULES, UNCOUNTED, Shape


def executed_macs(row: Mapping[str, Any], nodes: Sequence[NodeProto]) -> int | None:
    """Multiply-accumulates of all calls of a row.

    Args:
        row: `op_type`, `name`, `calls`, and the shapes of `inputs` and `outputs`, as profiled.
        nodes: The model's nodes: attributes are told there alone.

    Returns:
        0 for operators that do not multiply; None when unknown, as for operators of ONNX Runtime's
        own.
    """
    op_type = row["op_type"]
    if op_type in UNCOUNTED:
        return None
    inputs = [tuple(shape) for shape in row["inputs"]]
    outputs = [tuple(shape) for shape in row["outputs"]]
    if op_type == "Gemm":
        return row["calls"] * _gemm(inputs, outputs) if inputs and outputs else None
    if op_type not in RULES:
        return 0 if _is_plain(op_type) else None
    counts = {_count(node, inputs, outputs) for node in _candidates(row, nodes)}
    found = counts.pop()
    return None if counts or found is None else row["calls"] * found


def _gemm(inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """From shapes alone: ONNX Runtime folds a Transpose into one, and changes its attributes."""
    rows = outputs[0][0]
    return math.prod(outputs[0]) * (math.prod(inputs[0]) // rows) if rows else 0


def _is_plain(op_type: str) -> bool:
    """True for ONNX's own operators and the copies that ONNX Runtime inserts between devices."""
    known = any(defs.has(op_type, domain) for domain in ("", "ai.onnx.ml"))
    return known or op_type.startswith("Memcpy")


def _candidates(row: Mapping[str, Any], nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """Nodes of the model that the row may be of; a bare one when ONNX Runtime made it itself."""
    same = [node for node in nodes if node.op_type == row["op_type"]]
    named = [node for node in same if node.name and node.name == row["name"]]
    return named or same or [helper.make_node(row["op_type"], [], [])]


def _count(node: NodeProto, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int | None:
    try:
        return RULES[node.op_type](node, inputs, outputs)
    except (ValueError, IndexError, StopIteration, AttributeError, TypeError):
        return None

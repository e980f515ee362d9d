"""What the trap tests share: models out of text, the recipe without verification, answers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from onnx import ModelProto

import graphopt
from tests.build import parse
from tests.passes.support import Array, answers, close

HEAD = '<ir_version: 10, opset_import: ["" : {opset}]>'
FLOAT = np.float32


def model(text: str, opset: int = 18, /, **initializers: Array) -> ModelProto:
    return parse(HEAD.format(opset=opset) + text, **initializers)


def exact(before: ModelProto) -> ModelProto:
    """What the recipe makes of a model: no larger, with the same inputs and outputs."""
    result = graphopt.optimize(before, verify=False)
    after = result.model.proto
    assert result.report.after.nodes <= result.report.before.nodes
    assert not result.report.left_out
    for ends in ("input", "output"):
        assert names(getattr(after.graph, ends)) == names(getattr(before.graph, ends))
    assert after.opset_import == before.opset_import
    return after


def names(items: Any) -> list[str]:
    return [item.name for item in items]


def same(before: ModelProto, after: ModelProto, *feeds: dict[str, Array]) -> None:
    for feed in feeds:
        pairs = zip(*(answers(m, feed, reference=False) for m in (before, after)), strict=True)
        for expected, found in pairs:
            close(expected, found)


def ops(proto: ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in proto.graph.node)


def i64(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(FLOAT)

"""What the tests of eliminate_expand share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto

from graphopt.passes.eliminate.eliminate_expand import EliminateExpand
from tests.build import parse
from tests.passes.support import Array, Outcome, agree, random_feeds, run

EXPAND = EliminateExpand()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
WORLDS = [{"N": 2, "C": 3}, {"N": 1, "C": 1}, {"N": 5, "C": 4}]


def i64(*values: Any) -> Array:
    return np.array(values, np.int64)


def f32(*shape: int) -> Array:
    return (np.arange(int(np.prod(shape))) - 2.5).astype(np.float32).reshape(shape)


def expanded(
    graph: str | ModelProto, worlds: Sequence[Mapping[str, int]] = WORLDS, **constants: Any
) -> Outcome:
    """Run the pass; the answers must stay the same, bit by bit, for every choice of sizes."""
    model = parse(HEAD + graph, **constants) if isinstance(graph, str) else graph
    outcome = run(model, EXPAND)
    assert outcome.left_out == []
    assert len(outcome.after.graph.node) <= len(outcome.before.graph.node)
    feeds = [random_feeds(model, seed, sizes) for seed, sizes in enumerate(worlds)]
    agree(outcome.before, outcome.after, feeds, exact=True)
    return outcome

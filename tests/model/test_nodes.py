from __future__ import annotations

import numpy as np

from graphopt.model.nodes import free_reads, plain_domain
from tests.build import parse

BODIES = """g (float[2] x, bool c) => (float[2] y) {
    a = Neg(x)
    y = If (c) <
        then_branch = t () => (p) { k = Constant<value_float = 1.0>() q = Mul(a, k) p = Add(q, x) },
        else_branch = e () => (r) { r = Mul(a, w) }
    >
}"""


def test_free_reads_are_inputs_and_captures_alone() -> None:
    model = parse(BODIES, w=np.ones(2, np.float32))
    assert free_reads(model.graph.node[1]) == ["c", "a", "x", "a", "w"]


def test_the_standard_domain_has_one_name() -> None:
    assert [plain_domain(name) for name in ("", "ai.onnx", "ai.onnx.ml")] == ["", "", "ai.onnx.ml"]

"""Views inside local functions, where inference knows no types."""

from __future__ import annotations

import numpy as np

from graphopt.graph import graph_view
from tests.build import build

TEXT = """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
g (float[2] x) => (float[2] y) { y = local.f(x) }
<domain: "local", opset_import: ["" : 17]>
f (v) => (w) {
    c = Constant <value = float[2] {1.0, 2.0}> ()
    w = Add(v, c)
}"""


def test_constants_are_known() -> None:
    program = build(TEXT)
    add = graph_view(program.functions[0], program).nodes[-1]
    value, constant = add.inputs
    assert value is not None
    assert constant is not None
    assert constant.dtype == np.float32
    assert constant.shape == (2,)
    assert value.dtype is None
    assert value.shape is None

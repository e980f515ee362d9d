from __future__ import annotations

import numpy as np

from graphopt.model import load_model
from graphopt.verify.regions import Wiring, find_regions
from tests.build import parse

W = np.ones((2, 2), np.float32)
BEFORE = """g (float[N, 2] x) => (float[N, 2] y, float[N, 2] z) {
    a = MatMul(x, w)
    b = Add(a, c)
    y = Relu(b)
    i = Identity(x)
    d = Neg(i)
    z = Abs(d)
}"""
AFTER = """g (float[N, 2] x) => (float[N, 2] y, float[N, 2] z) {
    m = MatMul(x, v)
    n = Add(m, c)
    y = Relu(n)
    d = Neg(x)
    z = Abs(d)
}"""


def regions() -> list[tuple[list[str], tuple[str, ...]]]:
    before, after = (
        load_model(parse(text, c=W[0], **weights))
        for text, weights in ((BEFORE, {"w": W}), (AFTER, {"v": W * 2}))
    )
    return [([n.op_type for n in r.nodes], r.results) for r in find_regions(before, after)]


def test_changed_nodes_hang_together_by_values_of_the_candidate_alone() -> None:
    assert regions() == [(["MatMul", "Add", "Relu"], ("y",)), (["Neg"], ("d",))]


def test_nothing_changed_is_no_region() -> None:
    model = load_model(parse(BEFORE, w=W, c=W[0]))
    assert find_regions(model, load_model(parse(BEFORE, w=W, c=W[0]))) == []


def test_what_results_need() -> None:
    wiring = Wiring.of(load_model(parse(BEFORE, w=W, c=W[0])))
    nodes, missing = wiring.needed(["y"], {"a"})
    assert [node.op_type for node in nodes] == ["Add", "Relu"] and not missing
    nodes, missing = wiring.needed(["z"], {"a"})
    assert [node.op_type for node in nodes] == ["Identity", "Neg", "Abs"] and missing == {"x"}
    assert wiring.reads_from_outside(nodes) == ["x"]
    assert wiring.reads_from_outside([wiring.producers["b"]], constants=True) == ["a", "c"]

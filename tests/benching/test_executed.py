from __future__ import annotations

from typing import Any

import pytest

from graphopt.benching.executed import executed_macs
from graphopt.graph.stats import every_node
from tests.build import parse


def row(op_type: str, inputs: list[list[int]], *outputs: list[int], **more: Any) -> dict[str, Any]:
    return {"op_type": op_type, "name": "n", "inputs": inputs, "outputs": list(outputs),
            "calls": 1, **more}  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (row("Conv", [[1, 3, 8, 8], [4, 3, 3, 3], [4]], [1, 4, 6, 6]), 4 * 36 * 27),
        (row("MatMul", [[2, 5, 8], [8, 3]], [2, 5, 3]), 2 * 5 * 3 * 8),
        (row("MatMul", [[5, 8], [8, 3]], [5, 3], calls=7), 7 * 5 * 3 * 8),
        (row("Gemm", [[5, 8], [8, 3]], [5, 3]), 5 * 3 * 8),
        (row("Gemm", [[8, 5], [3, 8], [3]], [5, 3]), 5 * 3 * 8),
        (row("Gemm", [[0, 8], [8, 3]], [0, 3]), 0),
        (row("LSTM", [[5, 2, 8], [1, 16, 8], [1, 16, 4]], [5, 1, 2, 4]), 5 * 2 * 16 * 12),
        (row("Relu", [[5]], [5]), 0),
        (row("Shape", [[5]], [1]), 0),
        (row("TreeEnsembleRegressor", [[5, 2]], [5, 1]), 0),
        (row("MemcpyToHost", [[5]], [5]), 0),
        (row("Attention", [[1, 2, 3]], [1, 2, 3]), None),
        (row("BiasGelu", [[5], [5]], [5]), None),
        (row("OpenVINO-EP-subgraph_1", [[5]], [5]), None),
        (row("Conv", [[1, 3, 8, 8]], [1, 4, 6, 6]), None),
        (row("Gemm", [], [5]), None),
    ],
)
def test_shapes_alone_tell_most(seen: dict[str, Any], expected: int | None) -> None:
    assert executed_macs(seen, []) == expected


EINSUMS = """agraph (float[2,3] x, float[3,4] w) => (float[2,4] y, float[2,3,4] z) {
  [sum] y = Einsum<equation="ij,jk->ik">(x, w)
  [outer] z = Einsum<equation="ij,jk->ijk">(x, w)
  [odd] v = Einsum<equation="...j,jk->...k">(x, w)
}"""


def einsum(name: str) -> dict[str, Any]:
    return row("Einsum", [[2, 3], [3, 4]], [2, 4], name=name)


def test_attributes_are_looked_up_in_the_model_by_name() -> None:
    nodes = list(every_node(parse(EINSUMS)))
    assert executed_macs(einsum("sum"), nodes) == 24
    assert executed_macs(einsum("odd"), nodes) is None


def test_renamed_node_counts_where_all_that_it_may_be_agree() -> None:
    nodes = list(every_node(parse(EINSUMS)))
    assert executed_macs(einsum("renamed"), nodes[:2]) == 24
    assert executed_macs(einsum("renamed"), nodes) is None
    assert executed_macs(einsum("renamed"), []) is None


def test_nodes_of_bodies_and_functions_are_found() -> None:
    model = parse(
        """<ir_version: 8, opset_import: ["": 17, "own": 1]>
        agraph (bool c, float[2] x) => (float[2] y) {
          [if] a = If (c) <
            then_branch = t () => (float[2] p) { [then] p = Relu(x) },
            else_branch = e () => (float[2] q) { [else] q = Abs(x) }>
          [call] y = own.f(a)
        }
        <domain: "own", opset_import: ["": 17]> f (a) => (b) { [inside] b = Neg(a) }"""
    )
    names = {node.name for node in every_node(model)}
    assert names == {"if", "then", "else", "call", "inside"}

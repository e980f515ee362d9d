from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphopt.contract import Effect, NodeView
from graphopt.errors import EditRefused, UsageError
from graphopt.graph import Program
from graphopt.graph.excluding import exclude_nodes
from graphopt.graph.views import node_view
from tests.build import build
from tests.graph.edited import Edited

W = np.ones(3, np.float32)
CHAIN = "g (float[3] x) => (float[3] y) { t = Neg(x)\n u = Add(t, w)\n y = Relu(u) }"
NESTED = """<ir_version: 8, opset_import: ["": 17, "local": 1]>
g (float[N] x, bool c) => (float[N] y) {
  s = If (c) <
    then_branch = one () => (float[N] a) { a0 = Relu(x)\n a = Abs(a0) },
    else_branch = two () => (float[N] b) { b = Neg(x) }
  >
  y = local.twice(s)
}
<domain: "local", opset_import: ["": 17]>
twice (v) => (r) { r = Add(v, v) }
"""


def named(program: Program, *names: str) -> Program:
    for node, name in zip(program.main.ordered(), names, strict=True):
        node.name = name
    return program


def opaque(program: Program) -> list[str]:
    nodes = [node for scope in program.scopes() for node in scope.ordered()]
    return [node.op for node in nodes if node_view(node, program).is_opaque and not node.domain]


@pytest.mark.parametrize(
    ("patterns", "labels"),
    [
        (["/enc/0/neg"], ["Neg /enc/0/neg"]),
        (["/enc/*"], ["Neg /enc/0/neg", "Add /enc/1/add[0]"]),
        (["/enc/1/add[0]"], ["Add /enc/1/add[0]"]),
        (["Add *"], ["Add /enc/1/add[0]"]),
        (["Relu -> y"], ["Relu -> y"]),
        (["y", "*neg"], ["Neg /enc/0/neg", "Relu -> y"]),
        (["*", "y"], ["Neg /enc/0/neg", "Add /enc/1/add[0]", "Relu -> y"]),
        ([], []),
    ],
)
def test_patterns(patterns: list[str], labels: list[str]) -> None:
    program = named(build(CHAIN, w=W), "/enc/0/neg", "/enc/1/add[0]", "")
    assert list(exclude_nodes(program, patterns)) == labels
    assert opaque(program) == [label.split()[0] for label in labels]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("conv1", ["conv_1"]),
        ("t", ["conv_1", "Neg conv_1", "add", "Add add", "Relu -> y", "y"]),
        ("neg conv_*", ["Neg conv_1"]),
    ],
)
def test_pattern_that_fits_nothing(pattern: str, names: list[str]) -> None:
    """Not even the output of a node that has a name: it is named by that."""
    program = named(build(CHAIN, w=W), "conv_1", "add", "")
    with pytest.raises(UsageError, match="no node fits") as caught:
        exclude_nodes(program, ["add", pattern])
    assert repr(pattern) in str(caught.value)
    assert all(name in (caught.value.hint or "") for name in names)
    assert opaque(program) == []


def test_what_lies_inside_an_excluded_node_is_part_of_it() -> None:
    program = build(NESTED)
    assert exclude_nodes(program, ["s"]) == ("If -> s",)
    assert opaque(program) == ["If", "Relu", "Abs", "Neg"]


def test_what_lies_around_an_excluded_node_stays_with_it() -> None:
    program = build(NESTED)
    assert exclude_nodes(program, ["a0"]) == ("Relu -> a0",)
    assert opaque(program) == ["If", "Relu"]


def test_nodes_of_functions() -> None:
    program = build(NESTED)
    assert exclude_nodes(program, ["r"]) == ("Add -> r",)
    assert opaque(program) == ["Add"]


def _bypass(e: Edited, node: NodeView) -> None:
    e.edit.replace(e.value("u"), e.value("t"))
    e.edit.remove(node)


EDITS: dict[str, Callable[[Edited, NodeView], object]] = {
    "set_input": lambda e, node: e.edit.set_input(node, 1, e.edit.constant(W, "w", e.graph)),
    "set_attribute": lambda e, node: e.edit.set_attribute(node, "axis", 0),
    "remove": _bypass,
    "adopt": lambda e, node: e.edit.adopt(node, 0, e.value("y")),
}


@pytest.mark.parametrize("name", EDITS)
def test_the_editor_refuses_to_change_an_excluded_node(name: str) -> None:
    e = Edited(CHAIN, w=W)
    exclude_nodes(e.program, ["u"])
    with pytest.raises(EditRefused, match="Add -> u: the node is excluded"):
        EDITS[name](e, e.node("Add"))


def test_an_excluded_node_may_read_the_same_value_under_another_name() -> None:
    e = Edited("g (float[3] x) => (float[3] y) { t = Identity(x)\n y = Add(t, w) }", w=W)
    exclude_nodes(e.program, ["y"])
    e.edit.replace(e.value("t"), e.value("x"))
    e.edit.replace(e.value("w"), e.edit.constant(W, "w", e.graph))
    e.edit.remove(e.node("Identity"))
    assert e.text() == ["y = Add(x, w_1)"]


@pytest.mark.parametrize("excluded", [True, False])
@pytest.mark.parametrize("constant", ["", "w = Constant <value_floats = [1.0, 1.0, 1.0]> ()\n"])
def test_no_loss_in_what_an_excluded_node_reads(excluded: bool, constant: str) -> None:
    text = (
        f"g (float[3] x) => (float[3] y, float[3] z) {{ {constant} y = Add(x, w)\n z = Sub(x, w) }}"
    )
    e = Edited(text, **({} if constant else {"w": W}))
    e.transaction.effect = Effect.LOSSY
    if excluded:
        exclude_nodes(e.program, ["y"])
    other = e.edit.constant(W * 2, "w", e.graph)
    if excluded:
        with pytest.raises(EditRefused, match="excluded"):
            e.edit.replace(e.value("w"), other)
        e.edit.set_input(e.node("Sub"), 1, other)
    else:
        e.edit.replace(e.value("w"), other)
    assert ("y = Add(x, w)" in e.text()) == excluded
    assert "z = Sub(x, w_1)" in e.text()


def test_loss_upstream_of_an_excluded_node_is_no_concern_of_it() -> None:
    e = Edited(CHAIN, w=W)
    e.transaction.effect = Effect.LOSSY
    exclude_nodes(e.program, ["u"])
    e.edit.replace(e.value("t"), e.value("x"))
    e.edit.remove(e.node("Neg"))
    assert e.text() == ["u = Add(x, w)", "y = Relu(u)"]

"""Undo is exact: whatever was edited, taking it back gives the same message, link for link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.contract import Effect, GraphView, NodeView, ValueView
from graphopt.errors import EditRefused
from graphopt.graph import GraphEditor, Journal, Program, Transaction, export_program, graph_view
from tests.build import build, few

TEXT = """<ir_version: 8, opset_import: ["": 17, "local": 1]>
agraph (float[4] x, float[4] d, bool c) => (float[4] y, float[4] z) {
  a = Relu(x)
  b = Add(a, w)
  k = Constant<value = float[4] {1.0, 2.0, 3.0, 4.0}>()
  e = Sum(b, k, a, a)
  z = If (c) <
    then_branch = t () => (float[4] p) { i = Mul(b, v) p = Identity(i) },
    else_branch = e () => (float[4] q) { j = LeakyRelu<alpha = 0.5>(e) q = Clip(j) }
  >
  f = local.f(e)
  g = Selu<gamma = 1.5, alpha = 2.0>(f)
  y = Sub(g, d)
}
<domain: "local", opset_import: ["": 17]>
f (n) => (r) { s = Elu<alpha = 0.5>(n) r = Sub(s, n) }
"""


def program() -> Program:
    rows = {name: np.arange(4, dtype=np.float32) + index for index, name in enumerate("wvd")}
    return build(TEXT, **rows)


def all_graphs(edited: Program) -> list[GraphView]:
    return [graph_view(scope, edited) for scope in edited.scopes()]


def all_nodes(edited: Program) -> list[NodeView]:
    return [node for graph in all_graphs(edited) for node in graph.nodes]


def all_values(edited: Program) -> list[ValueView]:
    """Every value there is, an omitted one (None) left out."""
    found: dict[int, ValueView] = {}
    for graph in all_graphs(edited):
        outputs = [value for node in graph.nodes for value in node.outputs]
        for value in (*graph.inputs, *graph.initializers, *outputs):
            if value is not None:
                found[id(value)] = value
    return list(found.values())


def replace(edit: GraphEditor, edited: Program, one: int, two: int) -> None:
    values = all_values(edited)
    edit.replace(values[one % len(values)], values[two % len(values)])


def set_input(edit: GraphEditor, edited: Program, one: int, two: int) -> None:
    nodes, values = all_nodes(edited), all_values(edited)
    value = None if two % 5 == 0 else values[two % len(values)]
    edit.set_input(nodes[one % len(nodes)], two % 4, value)


def set_attribute(edit: GraphEditor, edited: Program, one: int, two: int) -> None:
    nodes = all_nodes(edited)
    value = (None, 0.25, 7, "text")[two % 4]
    edit.set_attribute(nodes[one % len(nodes)], ("alpha", "gamma", "new")[two % 3], value)


def remove(edit: GraphEditor, edited: Program, one: int, two: int) -> None:
    nodes = all_nodes(edited)
    edit.remove(nodes[one % len(nodes)])


def bypass(edit: GraphEditor, edited: Program, one: int, two: int) -> None:
    """What most passes do: replace a node's output by its input, and remove the node."""
    nodes = all_nodes(edited)
    node = nodes[one % len(nodes)]
    if node.inputs and node.inputs[0] is not None and node.outputs[0] is not None:
        edit.replace(node.outputs[0], node.inputs[0])
        edit.remove(node)


def insert(edit: GraphEditor, edited: Program, one: int, two: int) -> None:
    nodes, values = all_nodes(edited), all_values(edited)
    anchor = nodes[one % len(nodes)]
    node = edit.insert("Exp", [values[two % len(values)]], before=anchor)
    if two % 2:
        edit.set_input(anchor, 0, node.outputs[0])


def constant(edit: GraphEditor, edited: Program, one: int, two: int) -> None:
    graphs, nodes = all_graphs(edited), all_nodes(edited)
    value = edit.constant(np.full(4, two, np.float32), "w", graphs[one % len(graphs)])
    if two % 2:
        edit.set_input(nodes[two % len(nodes)], 0, value)


def remove_initializer(edit: GraphEditor, edited: Program, one: int, two: int) -> None:
    values = [value for value in all_values(edited) if value.is_initializer]
    if values:
        edit.remove_initializer(values[one % len(values)])


KINDS: list[Callable[[GraphEditor, Program, int, int], None]] = [
    replace, set_input, set_attribute, remove, bypass, insert, constant, remove_initializer,
]  # fmt: skip

edit_steps = st.tuples(st.sampled_from(KINDS), st.integers(0, 999), st.integers(0, 999))
transactions = st.lists(st.lists(edit_steps, min_size=1, max_size=4), min_size=1, max_size=8)


def apply(edited: Program, steps: list[Any]) -> None:
    """One transaction; what the editor refuses half-way is taken back, as the engine does."""
    transaction = Transaction("test", "root", "root", 0, Effect.IDENTICAL)
    edit = GraphEditor(edited, transaction)
    try:
        for kind, one, two in steps:
            kind(edit, edited, one, two)
    except EditRefused:
        transaction.undo()
        return
    edited.journal.append(transaction)


def snapshot(edited: Program) -> Any:
    """All that can be seen of a program: its message, and each value's type and readers."""
    seen = [
        (
            value.name,
            value.dtype,
            value.shape,
            value.is_graph_output,
            sorted((use.node.label(), use.index) for use in value.readers),
            value.producer and value.producer.label(),
        )
        for value in all_values(edited)
    ]
    counts = [scope.edits for scope in edited.scopes()]
    counts += [node.edits for scope in edited.scopes() for node in scope.ordered()]
    names = [sorted(scope.names) for scope in edited.scopes()]
    try:
        message = export_program(edited, rebuild=True).proto.SerializeToString(deterministic=True)
    except EditRefused:
        message = b"a cycle"
    return message, sorted(seen, key=repr), counts, names


@settings(few, max_examples=60)
@given(transactions)
def test_taking_everything_back_gives_the_original(drawn: list[Any]) -> None:
    edited = program()
    before = snapshot(edited)
    original = edited.model.proto
    for steps in drawn:
        apply(edited, steps)
    edited.journal.move_to(0)
    assert export_program(edited, rebuild=True).proto == original
    assert export_program(edited) is edited.model
    assert snapshot(edited) == before


@settings(few, max_examples=60)
@given(transactions, st.lists(st.integers(0, 8), max_size=6))
def test_every_point_of_the_journal_can_be_gone_back_to(drawn: list[Any], stops: list[int]) -> None:
    edited = program()
    points = [snapshot(edited)]
    for steps in drawn:
        length = len(edited.journal.done)
        apply(edited, steps)
        if len(edited.journal.done) > length:
            points.append(snapshot(edited))
        else:
            assert snapshot(edited) == points[-1], "a refused transaction left a trace"
    for stop in [*stops, len(points) - 1]:
        edited.journal.move_to(min(stop, len(points) - 1))
        assert snapshot(edited) == points[min(stop, len(points) - 1)]


def test_the_journal_counts_and_forgets() -> None:
    edited = program()
    journal: Journal = edited.journal
    for number in range(3):
        apply(edited, [(constant, 0, number)])
    assert len(journal.done) == 3
    assert journal.ordinal("test", "root") == 3
    assert journal.ordinal("test", "other") == journal.ordinal("other", "root") == 0
    journal.move_to(1)
    assert (len(journal.done), len(journal.undone)) == (1, 2)
    assert journal.ordinal("test", "root") == 1
    journal.forget_undone()
    assert not journal.undone
    journal.move_to(0)
    apply(edited, [(constant, 0, 4)])
    assert (len(journal.done), len(journal.undone)) == (1, 0), "what was undone cannot be redone"


def test_edits_in_a_body_make_its_graph_and_every_one_around_it_new() -> None:
    edited = program()
    inner = next(n for n in all_nodes(edited) if n.op_type == "LeakyRelu")
    transaction = Transaction("test", "", "", 0, Effect.IDENTICAL)
    GraphEditor(edited, transaction).set_attribute(inner, "alpha", 0.75)
    assert [scope.edits for scope in edited.scopes()] == [1, 0, 1, 0]
    transaction.undo()
    assert [scope.edits for scope in edited.scopes()] == [0, 0, 0, 0]

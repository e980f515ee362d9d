from __future__ import annotations

from graphopt.graph import Program
from graphopt.graph.changes import SetAttributes, SetLinks, SetType
from graphopt.graph.elements import Node, ValueType
from tests.build import build

TEXT = """g (float[N] x) => (float[N] y) <float k = {1.0}> {
    a = Mul(x, k)
    b = Add(k, a)
    c = Sub(k, k)
    y = Sum(a, b, c)
}"""


def program() -> Program:
    return build(TEXT)


def nodes(model: Program) -> dict[str, Node]:
    return {node.op: node for node in model.main.ordered()}


def readers(model: Program, name: str) -> list[str]:
    return [node.op for node in model.main.names[name].outputs]


def test_links_that_stay_are_not_touched() -> None:
    model = program()
    names, add = model.main.names, nodes(model)["Add"]
    before = [names["k"], names["a"]]
    change = SetLinks(add, "inputs", before, [names["k"], names["x"]])
    change.do()
    assert add.inputs == [names["k"], names["x"]]
    assert readers(model, "k") == ["Mul", "Add", "Sub", "Sub"]  # in the order they had
    assert (readers(model, "a"), readers(model, "x")) == (["Sum"], ["Mul", "Add"])
    change.undo()
    assert add.inputs == before
    assert (sorted(readers(model, "a")), readers(model, "x")) == (["Add", "Sum"], ["Mul"])


def test_a_value_that_is_read_twice_counts_twice() -> None:
    model = program()
    names, sub = model.main.names, nodes(model)["Sub"]
    change = SetLinks(sub, "inputs", [names["k"]] * 2, [names["k"], names["x"]])
    change.do()
    assert readers(model, "k") == ["Mul", "Add", "Sub"]
    change.undo()
    assert readers(model, "k") == ["Mul", "Add", "Sub", "Sub"]


def test_links_of_outputs() -> None:
    model = program()
    names, mul = model.main.names, nodes(model)["Mul"]
    change = SetLinks(mul, "outputs", [names["a"]], [])
    change.do()
    assert (mul.outputs, names["a"].inputs) == ([], [])
    change.undo()
    assert (mul.outputs, names["a"].inputs) == ([names["a"]], [mul])


def test_edits_are_counted_and_taken_back() -> None:
    model = program()
    mul = nodes(model)["Mul"]
    change = SetLinks(mul, "inputs", list(mul.inputs), list(reversed(mul.inputs)))
    change.do()
    assert (mul.edits, model.main.edits) == (1, 1)
    change.undo()
    assert (mul.edits, model.main.edits) == (0, 0)


def test_what_changes_nothing_is_empty() -> None:
    model = program()
    mul = nodes(model)["Mul"]
    known = ValueType(None, (1,))
    assert SetLinks(mul, "inputs", list(mul.inputs), list(mul.inputs)).is_empty()
    assert SetAttributes(mul, {}, {}).is_empty()
    assert SetType(model.main.names["a"], known, ValueType(None, (1,))).is_empty()
    assert not SetType(model.main.names["a"], known, ValueType(None, (2,))).is_empty()

from __future__ import annotations

from onnx import GraphProto

from graphopt.graph.naming import settle_names
from tests.build import parse


def graph(text: str) -> GraphProto:
    return parse(text).graph


SOURCE = """g (float[2] x, bool c) => (float[2] y) {
    t_1 = Relu(x)
    y = If (c) <then_branch = a () => (float[2] p) { p = Neg(t_1) },
                else_branch = b () => (float[2] q) { q = Abs(x) }>
}"""


def settled(text: str) -> GraphProto:
    found = graph(text)
    settle_names(found, graph(SOURCE))
    return found


def test_what_the_source_has_stays() -> None:
    assert settled(SOURCE) == graph(SOURCE)


def test_new_names_that_are_free_stay() -> None:
    text = SOURCE.replace("t_1 = Relu(x)", "new = Neg(x) t_1 = Relu(new)")
    assert settled(text) == graph(text)


def test_a_new_name_in_a_body_gives_way_to_one_around_it() -> None:
    # onnx's converter numbers what it adds in each graph by itself.
    found = settled(SOURCE.replace("q = Abs(x)", "t_1 = Relu(x) q = Abs(t_1)"))
    body = found.node[1].attribute[1].g
    assert [list(node.output) for node in body.node] == [["t_1_1"], ["q"]]
    assert list(body.node[1].input) == ["t_1_1"]
    assert list(found.node[1].attribute[0].g.node[0].input) == ["t_1"], "the other reads the outer"


def test_a_name_that_is_defined_twice_is_told_apart() -> None:
    # onnx's inliner repeats the names that its conversion makes.
    text = """g (float[2] x, bool c) => (float[2] y) {
        new = Neg(x) a = Relu(new) new = Abs(a) t_1 = Relu(new)
        y = If (c) <then_branch = a () => (float[2] p) { p = Neg(t_1) },
                    else_branch = b () => (float[2] q) { q = Abs(new) }>
    }"""
    found = settled(text)
    assert [list(node.output) for node in found.node[:4]] == [["new"], ["a"], ["new_1"], ["t_1"]]
    assert [list(node.input) for node in found.node[:4]] == [["x"], ["new"], ["a"], ["new_1"]]
    assert list(found.node[4].attribute[1].g.node[0].input) == ["new_1"], "the latest one"


def test_a_body_of_new_values_is_renamed_whole() -> None:
    text = """g (float[2] x, bool c) => (float[2] y) {
        t_1 = Relu(x)
        y = If (c) <then_branch = a () => (float[2] x) { x = Neg(t_1) },
                    else_branch = b () => (float[2] q) <float[2] t_1 = {1, 2}> { q = Abs(t_1) }>
    }"""
    found = settled(text)
    first, second = (attribute.g for attribute in found.node[1].attribute)
    assert first.node[0].output[0] == first.output[0].name == "x_1"
    assert second.initializer[0].name == second.node[0].input[0] == "t_1_1"

"""Constants that bodies capture, lent to them for inference."""

from __future__ import annotations

import numpy as np

from graphopt.graph import graph_view
from graphopt.graph.captured import lend_constants
from graphopt.graph.skeleton import skeleton
from tests.build import build, parse

IF = """g (float[2,3] x, bool c) => (float[N,M,K] y) {{
    {outside}
    y = If(c) <
        then_branch = t () => (float[N,M,K] p) {{ {body} p = Unsqueeze(x, axes) }},
        else_branch = e () => (float[N,M,K] q) {{ q = Unsqueeze(x, axes) }}
    >
}}"""


def shapes(text: str, **initializers: np.ndarray) -> dict[str, object]:
    program = build(text, **initializers)
    graphs = graph_view(program.main, program).nested()
    return {
        value.name: value.shape
        for graph in graphs
        for node in graph.nodes
        for value in node.outputs
        if value is not None
    }


def test_a_captured_initializer_settles_a_rank() -> None:
    found = shapes(IF.format(outside="", body=""), axes=np.array([1]))
    assert (found["p"], found["q"], found["y"]) == ((2, 1, 3), (2, 1, 3), (2, 1, 3))


def test_a_captured_constant_node_does_too() -> None:
    text = IF.format(outside="axes = Constant <value = int64[1] {0}> ()", body="")
    assert shapes(text)["y"] == (1, 2, 3)


def test_a_body_of_a_body() -> None:
    text = """g (float[2,3] x, bool c) => (float[N,M,K] y) {
        y = If(c) <
            then_branch = t () => (float[N,M,K] p) {
                p = If(c) <
                    then_branch = tt () => (float[N,M,K] a) { a = Unsqueeze(x, axes) },
                    else_branch = te () => (float[N,M,K] b) { b = Unsqueeze(x, axes) }
                >
            },
            else_branch = e () => (float[N,M,K] q) { q = Unsqueeze(x, axes) }
        >
    }"""
    found = shapes(text, axes=np.array([2]))
    assert (found["a"], found["p"], found["y"]) == ((2, 3, 1), (2, 3, 1), (2, 3, 1))


def test_what_callers_may_override_is_not_lent() -> None:
    text = IF.format(outside="", body="").replace("bool c)", "bool c, int64[1] axes)")
    assert shapes(text, axes=np.array([1]))["p"] is None


def test_a_value_of_the_same_name_hides_an_outer_constant() -> None:
    text = IF.format(outside="", body="axes = Shape <start = 0, end = 1> (x)")
    bare = skeleton(parse(text, axes=np.array([1])), declared=False)
    lend_constants(bare)
    bodies = {a.name: a.g for a in bare.graph.node[0].attribute}
    assert [t.name for t in bodies["then_branch"].initializer] == []
    assert [t.name for t in bodies["else_branch"].initializer] == ["axes"]


def test_only_what_is_read_is_lent() -> None:
    bare = skeleton(
        parse(IF.format(outside="", body=""), axes=np.array([1]), other=np.array([5])),
        declared=False,
    )
    lend_constants(bare)
    for attribute in bare.graph.node[0].attribute:
        assert [t.name for t in attribute.g.initializer] == ["axes"]

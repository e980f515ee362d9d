"""Declared shapes of what Loop and Scan bodies are given: kept where they are proven."""

from __future__ import annotations

from typing import Any

import pytest

from graphopt.graph import graph_view
from tests.build import build

LOOP = """g (float[{x}] x, int64 n, bool c) => (float[{last}] last) {{
    last = Loop(n, c, x) <
        body = b (int64 i, bool on, float[{v}] v) => (bool go, float[{v}] next) {{
            go = Identity(on)
            copy = Neg(v)
            {step}
        }}
    >
}}"""


def shape_of(text: str, name: str) -> tuple[Any, ...]:
    """What is known of a value's shape; empty where not even its rank is."""
    program = build(text)
    for graph in graph_view(program.main, program).nested():
        for node in graph.nodes:
            for value in node.outputs:
                if value is not None and value.name == name:
                    return value.shape or ()
    raise AssertionError(name)


def loop(x: str, v: str, step: str) -> str:
    return LOOP.format(x=x, last=x, v=v, step=step)


def test_what_every_turn_keeps_is_known() -> None:
    text = loop("2,3", "2,3", "next = Mul(copy, v)")
    assert shape_of(text, "copy") == (2, 3)


def test_what_grows_is_not() -> None:
    """Declared as one element, doubled in every turn: a runtime only warns."""
    text = loop("1", "1", "next = Concat <axis = 0> (copy, v)")
    assert not any(isinstance(dim, int) for dim in shape_of(text, "copy"))


def test_only_the_axis_that_grows_is_lost() -> None:
    text = loop("1,4", "1,4", "next = Concat <axis = 0> (copy, v)")
    rows, columns = shape_of(text, "copy")
    assert not isinstance(rows, int)
    assert columns == 4


def test_what_does_not_begin_so_is_not_known() -> None:
    text = loop("N,3", "2,3", "next = Mul(copy, v)")
    rows, columns = shape_of(text, "copy")
    assert not isinstance(rows, int)
    assert columns == 3


def test_another_rank_leaves_nothing() -> None:
    text = loop("2,3", "6", "next = Mul(copy, v)")
    assert len(shape_of(text, "copy")) != 1


@pytest.mark.parametrize(("declared", "known"), [("3", (3,)), ("7", (3,)), ("?", (3,))])
def test_slices_of_a_scan_are_what_its_input_says(declared: str, known: tuple[int, ...]) -> None:
    text = f"""g (float[4,3] xs, float[3] start) => (float[3] last, float[4,3] ys) {{
        last, ys = Scan <num_scan_inputs = 1, body = b (float[3] s, float[{declared}] x) =>
            (float[3] t, float[?] y) {{
                t = Add(s, s)
                y = Neg(x)
            }}> (start, xs)
    }}"""
    assert shape_of(text, "y") == known
    assert shape_of(text, "t") == (3,)


def test_a_loop_in_a_branch() -> None:
    inner = loop("2,3", "2,3", "next = Mul(copy, v)").split("{", 1)[1].rsplit("}", 1)[0]
    text = f"""g (float[2,3] x, int64 n, bool c) => (float[2,3] y) {{
        y = If(c) <then_branch = t () => (float[2,3] last) {{ {inner} }},
                   else_branch = e () => (float[2,3] q) {{ q = Neg(x) }}>
    }}"""
    assert shape_of(text, "copy") == (2, 3)


def test_a_body_of_stale_shapes_in_two_steps() -> None:
    """The second is proven by the first only as long as that one is trusted."""
    text = """g (float[1] x, float[1] z, int64 n, bool c) => (float[1] l1, float[1] l2) {
        l1, l2 = Loop(n, c, x, z) <
            body = b (int64 i, bool on, float[1] v, float[1] w) =>
                (bool go, float[1] v2, float[1] w2) {
                go = Identity(on)
                copy = Neg(w)
                v2 = Concat <axis = 0> (v, v)
                w2 = Mul(w, v)
            }
        >
    }"""
    assert not any(isinstance(dim, int) for dim in shape_of(text, "copy"))

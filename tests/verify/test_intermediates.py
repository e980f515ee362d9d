from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.model import Model
from graphopt.verify.intermediates import look_inside, with_outputs
from tests.build import parse

W = np.ones((4, 4), np.float32)
MODEL = """g (float[N,4] x) => (float[N,4] y) {
    a = Relu(x)
    b = MatMul(a, w)
    c = Neg(b)
    y = Sigmoid(c)
}"""


def model(text: str = MODEL, w: Any = W) -> Model:
    return Model(parse(text, w=w))


def all_agree(names: list[str]) -> set[str]:
    return set(names)


def none_agrees(names: list[str]) -> set[str]:
    return set()


def test_floating_values_of_both_survive() -> None:
    found = look_inside(model(), model(MODEL.replace("b", "r")))
    assert found.survivors == ["a", "c"]


def test_integers_and_outputs_are_no_survivors() -> None:
    text = "g (float[N] x) => (float[N] y) { i = Cast<to = 7>(x)\n y = Cast<to = 1>(i) }"
    assert look_inside(Model(parse(text)), Model(parse(text))).survivors == []


def test_nothing_is_to_settle_where_nothing_changed() -> None:
    assert look_inside(model(), model()).settles("y", none_agrees) == 0


def test_changed_weight_is_a_change_below_which_survivors_speak() -> None:
    found = look_inside(model(), model(w=2 * W))
    asked: list[str] = []

    def agree(names: list[str]) -> set[str]:
        asked.extend(names)
        return set(names)

    assert found.settles("y", agree)
    assert "a" not in asked  # it lies above the change and proves nothing
    assert set(asked) <= {"b", "c"}


def test_survivors_that_disagree_or_do_not_vary_settle_nothing() -> None:
    assert look_inside(model(), model(w=2 * W)).settles("y", none_agrees) is None


def test_no_survivor_below_the_change() -> None:
    changed = model(MODEL.replace("b", "r").replace("c", "s"), w=2 * W)
    assert look_inside(model(), changed).settles("y", all_agree) is None


def test_every_change_needs_a_survivor_of_its_own() -> None:
    text = """g (float[N,4] x) => (float[N,4] y) {{
        a = {0}(x, w)
        b = {1}(x, w)
        {2} = Concat<axis = 1>(a, b)
        y = Sigmoid({2})
    }}"""
    before = model(text.format("MatMul", "Add", "c"))
    after = model(text.format("Add", "MatMul", "d"))
    found = look_inside(before, after)
    assert found.survivors == ["a", "b"]
    # The Concat under another name has no survivor below it.
    assert found.settles("y", all_agree) is None


def test_renamed_or_reordered_constants_are_no_change() -> None:
    other = parse(MODEL.replace("w)", "v)"), v=W)
    assert look_inside(model(), Model(other)).settles("y", none_agrees) == 0


def test_constant_node_counts_like_an_initializer() -> None:
    text = """g (float[N] x) => (float[N] y) {{
        c = Constant<value = float[1] {{{0}}}>()
        y = Add(x, c)
    }}"""
    one, two = (Model(parse(text.format(value))) for value in (1.0, 2.0))
    assert look_inside(one, one).settles("y", none_agrees) == 0
    assert look_inside(one, two).settles("y", none_agrees) is None


def test_change_in_a_body_counts() -> None:
    text = """g (bool c, float[N] x) => (float[N] y) {{
        y = If (c) <
            then_branch = then () => (float[N] p) {{ p = {0}(x) }},
            else_branch = other () => (float[N] q) {{ q = Abs(x) }}>
    }}"""
    one, two = (Model(parse(text.format(op))) for op in ("Relu", "Neg"))
    assert look_inside(one, two).settles("y", none_agrees) is None


def test_change_in_a_function_counts() -> None:
    text = """<ir_version: 9, opset_import: ["": 17, "f": 1]>
    g (float[N] x) => (float[N] y) {{ y = f.twice(x) }}
    <domain: "f", opset_import: ["": 17]>
    twice (a) => (b) {{ b = {0}(a) }}"""
    one, two = (Model(parse(text.format(op))) for op in ("Relu", "Neg"))
    assert look_inside(one, two).settles("y", none_agrees) is None


def test_default_of_an_input_counts() -> None:
    text = "g (float[N] x, float[1] d) => (float[N] y) { y = Add(x, d) }"
    one, two = (Model(parse(text, d=np.full(1, v, np.float32))) for v in (1, 2))
    assert look_inside(one, two).settles("y", none_agrees) is None


def test_with_outputs_leaves_the_model_alone() -> None:
    one = model()
    before = one.proto.SerializeToString()
    more = with_outputs(one, ["a"])
    assert [info.name for info in more.proto.graph.output] == ["y", "a"]
    assert one.proto.SerializeToString() == before

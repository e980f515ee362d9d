"""deduplicate_nodes: inputs in another order, where that makes no difference and where it does."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.passes.eliminate.deduplicate_nodes import DeduplicateNodes
from tests.build import parse
from tests.passes.placed import PLACES, Place, piece, placed
from tests.passes.support import agree, run

PASS = DeduplicateNodes()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
EITHER = {
    "Add": "float", "Mul": "float", "And": "bool", "Or": "bool", "Xor": "bool", "Equal": "float",
    "BitwiseAnd": "int32", "BitwiseOr": "int32", "BitwiseXor": "uint8",
}  # fmt: skip


@pytest.mark.parametrize("op", EITHER)
def test_either_order(op: str) -> None:
    kind = EITHER[op]
    result = "bool" if op == "Equal" else kind
    text = f"""{HEAD} g ({kind}[2] x, {kind}[3,2] z) => ({result}[6,2] y) {{
        a = {op}(x, z) b = {op}(z, x) y = Concat <axis = 0> (a, b)
    }}"""
    outcome = run(parse(text), PASS)
    assert outcome.lines == [f"a = {op}(x, z)", "y = Concat(a, a)"]
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("place", PLACES)
def test_a_constant_on_either_side(place: Place) -> None:
    """Equal by its bytes, and on the other side."""
    constants = {"c": np.array([1, 2, 3], np.float32), "d": np.array([1, 2, 3], np.float32)}
    body = "a = Mul(x, c)\nb = Mul(d, x)\ny = Sub(a, b)"
    outcome = run(placed(place, body, constants), PASS)
    assert piece(outcome.after, place) == ["a = Mul(x, c)", "y = Sub(a, a)"]
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("op", ["Sub", "Div", "Pow", "Max", "Min", "PRelu"])
def test_an_order_that_matters(op: str) -> None:
    """A Max of -0.0 and 0.0 may be either; a product with itself is another product."""
    text = f"""{HEAD} g (float[2] x, float[2] z) => (float[2] y) {{
        a = {op}(x, z) b = {op}(z, x) y = Sub(a, b)
    }}"""
    assert run(parse(text), PASS).unchanged


def test_one_input_twice_is_something_else() -> None:
    text = f"""{HEAD} g (float[2] x, float[2] z) => (float[2] y) {{
        a = Mul(x, z) b = Mul(x, x) c = Mul(z, z) d = Sub(a, b) y = Sub(d, c)
    }}"""
    assert run(parse(text), PASS).unchanged


def test_a_tower_of_turned_sums() -> None:
    body = "a = Exp(x)\nb = Add(a, x)\nd = Add(x, a)\ne = Mul(b, a)\nf = Mul(a, d)\ny = Sub(e, f)"
    outcome = run(placed("main", body), PASS)
    assert outcome.lines == ["a = Exp(x)", "b = Add(a, x)", "e = Mul(b, a)", "y = Sub(e, e)"]
    agree(outcome.before, outcome.after, exact=True)


def test_the_older_opsets_align_the_second() -> None:
    body = "a = Mul <broadcast = 1, axis = 0> (x, c)\nb = Mul <broadcast = 1, axis = 0> (c, x)\n"
    model = placed(
        "main", body + "y = Sub(a, b)", {"c": np.ones((2, 3), np.float32)}, opset=6, ir=8
    )
    assert run(model, PASS).unchanged

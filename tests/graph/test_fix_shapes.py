from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.contract import Dim
from graphopt.errors import UsageError
from graphopt.graph.declared import dims_of, value_types
from graphopt.graph.fix_shapes import fix_shapes, shown
from graphopt.model import Model
from tests.build import few, parse

TEXT = """g (float[N,3,H,W] x, float[N,C] z) => (float[N,3,P,W] y, float[N,C] w)
    <float[N,3,H,W] t> {
    t = Relu(x)
    y = MaxPool <kernel_shape = [2, 1], strides = [2, 1]> (t)
    w = Neg(z)
}"""


def fixed(model: ModelProto, shapes: object = None, symbols: object = None) -> ModelProto:
    return fix_shapes(Model(model), shapes or {}, symbols or {}).proto  # type: ignore[arg-type]


def dims(model: ModelProto) -> dict[str, tuple[Dim, ...] | None]:
    return {name: dims_of(kind) for name, kind in value_types(model.graph).items()}


def test_a_shape_is_fixed_and_what_follows_is_inferred() -> None:
    model = parse(TEXT)
    found = dims(fixed(model, {"x": (1, 3, 8, 6)}))
    assert found["x"] == found["t"] == (1, 3, 8, 6)
    assert found["y"] == (1, 3, 4, 6)
    assert found["z"] == found["w"] == (1, "C"), "one symbol has one size"
    assert dims(model)["x"] == ("N", 3, "H", "W"), "the given model is not changed"


def test_a_symbol_is_fixed_wherever_it_is() -> None:
    found = dims(fixed(parse(TEXT), symbols={"W": 5}))
    assert found["x"] == found["t"] == ("N", 3, "H", 5)
    assert found["y"] == ("N", 3, "P", 5)
    assert found["z"] == ("N", "C")


@given(st.permutations(["N", "H", "W", "C"]), st.integers(1, 9))
@few
def test_the_order_does_not_matter(order: list[str], size: int) -> None:
    model = parse(TEXT)
    at_once = fixed(model, symbols=dict.fromkeys(order, size))
    for symbol in order:
        model = fixed(model, symbols={symbol: size})
    assert model == at_once


def test_types_in_bodies_follow() -> None:
    model = parse("""g (float[N,2] x, bool c) => (float[N,2] y) {
        y = If (c) <then_branch = a () => (float[N,2] p) <float[N,2] s> { s = Neg(x) p = Abs(s) },
                    else_branch = b () => (float[M,2] q) { q = Abs(x) }>
    }""")
    found = fixed(model, symbols={"N": 4})
    first, second = (attribute.g for attribute in found.graph.node[0].attribute)
    assert dims_of(first.value_info[0].type) == dims_of(first.output[0].type) == (4, 2)
    assert dims_of(second.output[0].type) == (4, 2), "inferred"


def test_an_output_that_was_declared_for_another_size_is_corrected() -> None:
    model = parse("g (float[N,2] x) => (float[1,2] y) { y = Relu(x) }")
    assert dims(fixed(model, symbols={"N": 4}))["y"] == (4, 2)


def test_the_rank_of_an_input_may_be_told() -> None:
    model = parse("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert dims(fixed(model, {"x": (3,)}))["x"] == (3,)


def test_sequences_are_fixed_by_symbol() -> None:
    model = parse("""g (seq(float[N,2]) x, float[N] z) => (float[A,B] y) {
        y = ConcatFromSequence <axis = 0> (x)
    }""")
    found = fixed(model, symbols={"N": 4})
    assert dims_of(found.graph.input[0].type.sequence_type.elem_type) == (4, 2)
    with pytest.raises(UsageError, match="'x' is no tensor"):
        fixed(model, {"x": (4, 2)})


def test_nothing_to_do_is_the_same_model() -> None:
    model = Model(parse("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }"))
    assert fix_shapes(model, {"x": (2, 3)}, {}) is model


def test_only_declared_types_change() -> None:
    model = parse(TEXT, k=np.ones(3, np.float32))
    found = fixed(model, symbols={"N": 2, "H": 4, "W": 4, "C": 1})
    assert found.graph.node == model.graph.node
    assert found.graph.initializer == model.graph.initializer


@pytest.mark.parametrize(
    ("shapes", "symbols", "message", "hint"),
    [
        ({"y": (1,)}, {}, "'y' is no input of the model", "known: x, z"),
        ({"X": (1,)}, {}, "'X' is no input of the model", "known: x, z"),
        ({"x": (1, 3, 4)}, {}, "input 'x' has 4 dimensions, 3 are given", "[N,3,H,W]"),
        ({"x": (1, 4, 4, 4)}, {}, "dimension 1 of input 'x' is fixed at 3, not 4", None),
        ({"x": (1, 3, 0, 4)}, {}, "dimension 2 of input 'x' cannot be 0", "sizes start at 1"),
        ({"x": (1, 3, 4, 4), "z": (2, 1)}, {}, "dimension 'N' would be both 1 and 2", None),
        ({"x": (1, 3, 4, 4)}, {"N": 2}, "dimension 'N' would be both 1 and 2", None),
        ({}, {"P": 2}, "no input has a dimension 'P'", "known: N, H, W, C"),
        ({}, {"N": 0}, "dimension 'N' cannot be 0", "sizes start at 1"),
    ],
)  # fmt: skip
def test_refusals(shapes: object, symbols: object, message: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        fixed(parse(TEXT), shapes, symbols)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_misspelt_symbol_gets_a_suggestion() -> None:
    model = parse("g (float[batch,2] x) => (float[batch,2] y) { y = Relu(x) }")
    with pytest.raises(UsageError) as caught:
        fixed(model, symbols={"bacth": 1})
    assert caught.value.hint == "did you mean 'batch'?"


def test_shapes_for_people() -> None:
    assert shown(("N", 3, None)) == "[N,3,?]"
    assert shown(()) == "[]"
    assert shown(None) == "of any shape"

"""What is known of values before any rule, and how findings are noted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from graphopt.contract import ValueView
from graphopt.graph.views import graph_view
from graphopt.passes.fold._facts import MAX_ELEMENTS, Facts, as_content, integers, walk
from graphopt.passes.fold._sizes import Size, size, symbol
from tests.build import build, parse
from tests.passes.fold.learning import Learnt
from tests.passes.support import Array

HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'


def values(text: str, **constants: Array) -> dict[str, ValueView]:
    """Every value of a main graph, by name."""
    program = build(parse(HEAD + text, **constants))
    graph = graph_view(program.main, program)
    found: dict[str, ValueView] = {v.name: v for v in [*graph.inputs, *graph.initializers]}
    for node in walk(graph):
        found.update((v.name, v) for v in node.outputs if v is not None)
    return found


def content(*entries: Size) -> Any:
    found = np.empty(len(entries), dtype=object)
    found[:] = entries
    return found


def test_declared_sizes_of_inputs() -> None:
    inputs = "float[N,3,?,0] x, float s, float[?] v, float[?] w"
    found = values(f"g ({inputs}) => (float y) {{ y = Neg(s) }}")
    facts = Facts()
    dims = facts.dims(found["x"])
    assert dims is not None
    assert dims[:2] == (symbol("N"), size(3))
    assert dims[3] == size(0)
    assert facts.dims(found["s"]) == ()
    assert facts.dims(found["v"]) != facts.dims(found["w"])
    assert facts.dims(found["v"]) == facts.dims(found["v"])
    assert facts.dims(None) is None


def test_the_symbols_of_other_values_are_their_own() -> None:
    """Names that inference or a file wrote are never taken for the input's."""
    found = values(
        "g (float[N] x) => (float[N] y, float[N] z) {"
        "y = com.example.Twice(x) z = com.example.Half(x) }"
    )
    facts = Facts()
    assert len({facts.dims(found[name]) for name in "xyz"}) == 3


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64, np.bool_])
def test_small_constants_are_known(dtype: Any) -> None:
    array = np.array([[0, 1], [1, 1]]).astype(dtype)
    found = values("g (float[2] x) => (float[2] y) { k2 = Identity(k) y = Neg(x) }", k=array)
    known = integers(Facts().content(found["k"]))
    assert known is not None
    np.testing.assert_array_equal(known, array)


@pytest.mark.parametrize(
    "array",
    [np.ones(2, np.float32), np.ones(MAX_ELEMENTS + 1, np.int64), np.array(["a"], object)],
    ids=["float", "long", "text"],
)
def test_data_is_not_known(array: Array) -> None:
    found = values("g (float[2] x) => (float[2] y) { k2 = Identity(k) y = Neg(x) }", k=array)
    assert Facts().content(found["k"]) is None


def test_constant_nodes_are_known() -> None:
    text = "g (float[2] x) => (float[2] y) {{ k = Constant <{}> () l = Identity(k) y = Neg(x) }}"
    for attribute, expected in [
        ("value_int = 3", 3), ("value_ints = [3, 4]", [3, 4]), ("value = int32[1] {5}", [5]),
    ]:  # fmt: skip
        known = integers(Facts().content(values(text.format(attribute))["k"]))
        assert known is not None
        assert known.tolist() == expected
    assert Facts().content(values(text.format("value_float = 3.0"))["k"]) is None


def test_inputs_are_not_known() -> None:
    text = "g (int64[2] x, int64[1] k) => (int64[2] y) { y = Add(x, k) }"
    found = values(text, k=np.array([1], np.int64))
    assert Facts().content(found["x"]) is None
    assert Facts().content(found["k"]) is None


def test_an_unknown_number_is_none_of_its_own() -> None:
    assert integers(None) is None
    assert integers(content(size(1), symbol("N"))) is None
    assert integers(content(size(2**63))) is None
    found = integers(content(size(2**63 - 1), size(-(2**63))))
    assert found is not None
    assert found.dtype == np.int64
    none = integers(as_content(np.zeros((0, 3), np.int64)))
    assert none is not None
    assert none.shape == (0, 3)
    scalar = integers(as_content(np.int64(4)))
    assert scalar is not None
    assert scalar.shape == ()


CASTS = "s = Shape(x) i = Cast <to = 6> (s) u = Cast <to = 12> (s) b = Cast <to = 9> (s)"


@pytest.mark.parametrize(
    ("name", "entry", "fits"),
    [
        ("s", 2**63 - 1, True), ("s", 2**63, False), ("s", -(2**63), True),
        ("i", 2**31 - 1, True), ("i", 2**31, False), ("i", -(2**31) - 1, False),
        ("u", 3, False), ("b", 1, True),
    ],
)  # fmt: skip
def test_what_does_not_fit_its_type_is_not_noted(name: str, entry: int, fits: bool) -> None:
    found = values(f"g (float[N] x) => (int64[1] y) {{ {CASTS} y = Neg(s) }}")
    facts = Facts()
    facts.learn(found[name], (size(1),), content(size(entry)))
    assert (facts.content(found[name]) is not None) == fits


def test_inference_speaks_where_no_rule_does() -> None:
    found = values("g (float[N,4] x) => (float[?,?] y) { y = com.example.Same(x) z = Relu(x) }")
    facts = Facts()
    facts.learn(found["z"], None, None)
    known = facts.dims(found["z"])
    assert known is not None
    assert known[1] == size(4)
    assert known[0] != symbol("N")
    facts.learn(found["y"], (symbol("N"), symbol("own")), None)
    assert facts.dims(found["y"]) == (symbol("N"), symbol("own"))


def test_a_finding_of_another_rank_is_dropped() -> None:
    found = values("g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }")
    facts = Facts()
    facts.learn(found["y"], (symbol("N"),), None)
    assert len(facts.dims(found["y"]) or ()) == 2


def test_bodies_stand_where_their_owner_does() -> None:
    program = build(
        parse(
            HEAD
            + """g (float[N] x, bool c) => (float[N] y) {
                a = Neg(x)
                b = If (c) <
                    then_branch = t () => (float[N] p) { p = Abs(a) },
                    else_branch = e () => (float[N] q) { q = Exp(a) }
                >
                y = Relu(b) }"""
        )
    )
    found = [node.op_type for node in walk(graph_view(program.main, program))]
    assert found == ["Neg", "Abs", "Exp", "If", "Relu"] or found == [
        "Neg", "Exp", "Abs", "If", "Relu",
    ]  # fmt: skip


def test_another_domain_teaches_nothing() -> None:
    learnt = Learnt(
        parse(HEAD + "g (float[N] x) => (int64[1] y) { s = com.example.Shape(x) y = Neg(s) }")
    )
    assert learnt.dims("s") is None
    assert learnt.content("s") is None


def test_an_attribute_that_a_call_fills_in() -> None:
    """In a function, `start` may be the caller's: the node is opaque."""
    model = parse(
        """<ir_version: 10, opset_import: ["" : 18, "local" : 1]>
        g (float[2,3] x) => (int64[?] y) { y = local.tail <from = 1> (x) }
        <domain: "local", opset_import: ["" : 18]>
        tail <from> (v) => (r) { r = Shape <start : int = @from> (v) }"""
    )
    assert model.functions[0].node[0].attribute[0].ref_attr_name == "from"
    program = build(model)
    (function,) = program.functions
    (node,) = walk(graph_view(function, program))
    assert node.is_opaque


def test_a_sequence_has_no_sizes() -> None:
    nodes = "s = SequenceConstruct(x) y = SequenceLength(s)"
    model = parse(HEAD + f"g (float[N] x) => (int64 y) {{ {nodes} }}")
    assert Learnt(model).dims("s") is None
    info = helper.make_tensor_sequence_value_info("q", TensorProto.FLOAT, ["N"])
    model.graph.input.append(info)
    assert Learnt(model).dims("q") is None

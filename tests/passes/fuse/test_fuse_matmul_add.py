"""fuse_matmul_add: text in, text out; every shape that Gemm takes; each refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from graphopt.passes.fuse.fuse_matmul_add import FuseMatmulAdd
from tests.build import few, parse
from tests.passes.fuse.fused import dims, kind, normal, refused, typed
from tests.passes.placed import GRAPHS, Place, piece, placed, scope_of
from tests.passes.support import Array, agree, random_feeds, run

FUSE = FuseMatmulAdd()
X = "float[2,3]"
Y = "float[2,4]"
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
BODY = "h = MatMul(x, w)\nn = Add(h, b)\ny = Relu(n)"
NOT_CONSTANT = "the addend is not a constant"
NOT_MATRICES = "the factors are not both matrices"
NOT_PLAIN = "the product is not a plain one beside the add"
READ = "the product is read elsewhere"
TYPES = "types differ, or are no floating-point types"
WIDENS = "the addend would widen the product"


def values(**changed: Array) -> dict[str, Array]:
    return {"w": normal(3, 4), "b": normal(4, seed=4), **changed}


def main(body: str, x: str = X, y: str = "float[?,?]", **changed: Array) -> ModelProto:
    return placed("main", body, values(**changed), x=x, y=y)


@pytest.mark.parametrize("add", ["Add(h, b)", "Add(b, h)"])
@pytest.mark.parametrize("place", GRAPHS)
def test_fuses(place: Place, add: str) -> None:
    outcome = run(placed(place, BODY.replace("Add(h, b)", add), values(), x=X, y=Y), FUSE)
    assert piece(outcome.after, place) == ["n = Gemm(x, w, b)", "y = Relu(n)"]
    assert (outcome.rewrites, outcome.skipped, outcome.left_out) == (1, {}, [])
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", GRAPHS)
def test_the_sum_is_a_graph_output(place: Place) -> None:
    outcome = run(placed(place, "h = MatMul(x, w)\ny = Add(b, h)", values(), x=X, y=Y), FUSE)
    assert piece(outcome.after, place) == ["y = Gemm(x, w, b)"]
    (gemm,) = (node for node in scope_of(outcome.after, place).node if node.op_type == "Gemm")
    assert not gemm.attribute
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", ["if", "loop"])
def test_constants_captured_from_the_main_graph(place: Place) -> None:
    outcome = run(placed(place, BODY, values(), x=X, y=Y, captured=True), FUSE)
    assert piece(outcome.after, place) == ["n = Gemm(x, w, b)", "y = Relu(n)"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (1, 1), (1, 4), (2, 1), (2, 4)])
@pytest.mark.parametrize("opset", [7, 9, 11, 13, 21])
def test_every_shape_that_gemm_takes(opset: int, shape: tuple[int, ...]) -> None:
    model = placed("main", BODY, values(b=normal(*shape, seed=8)), x=X, y=Y, opset=opset)
    outcome = run(model, FUSE)
    assert outcome.lines == ["n = Gemm(x, w, b)", "y = Relu(n)"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_types(dtype: Any) -> None:
    constants = {name: array.astype(dtype) for name, array in values().items()}
    x, y = X.replace("float", kind(dtype)), Y.replace("float", kind(dtype))
    outcome = run(placed("main", BODY, constants, x=x, y=y), FUSE)
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize(("rows", "inner", "columns"), [(0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_empty_matrices(rows: int, inner: int, columns: int) -> None:
    constants = {"w": normal(inner, columns), "b": normal(columns)}
    x, y = f"float[{rows},{inner}]", f"float[{rows},{columns}]"
    outcome = run(placed("main", "h = MatMul(x, w)\ny = Add(h, b)", constants, x=x, y=y), FUSE)
    assert outcome.rewrites == 1
    feeds = [{"x": normal(rows, inner)}]
    agree(outcome.before, outcome.after, feeds)


def test_neither_factor_is_constant_and_sizes_are_open() -> None:
    text = f"""{HEAD} g (float["N","K"] x, float["K",4] w) => (float["N",4] y) {{
        h = MatMul(x, w) y = Add(h, b)
    }}"""
    outcome = run(parse(text, b=normal(4)), FUSE)
    assert outcome.lines == ["y = Gemm(x, w, b)"]
    feeds = [random_feeds(outcome.before, 1, {"N": n, "K": k}) for n, k in ((1, 1), (3, 5), (2, 0))]
    agree(outcome.before, outcome.after, feeds)


def test_the_first_factor_is_the_constant_one() -> None:
    outcome = run(main("h = MatMul(w, x)\ny = Add(h, b)", "float[4,5]", b=normal(3, 1)), FUSE)
    assert outcome.lines == ["y = Gemm(w, x, b)"]
    agree(outcome.before, outcome.after)


def test_one_value_for_both_factors() -> None:
    outcome = run(main("h = MatMul(x, x)\ny = Add(h, b)", "float[4,4]"), FUSE)
    assert outcome.lines == ["y = Gemm(x, x, b)"]
    agree(outcome.before, outcome.after)


def test_one_constant_for_weight_and_addend() -> None:
    outcome = run(main("h = MatMul(x, w)\ny = Add(w, h)", w=normal(3, 3), x="float[3,3]"), FUSE)
    assert outcome.lines == ["y = Gemm(x, w, w)"]
    agree(outcome.before, outcome.after)


def test_constants_that_others_read() -> None:
    body = "h = MatMul(x, w)\nn = Add(h, b)\nk = MatMul(x, w)\nm = Mul(k, b)\ny = Sub(n, m)"
    outcome = run(main(body), FUSE)
    assert outcome.lines[0] == "n = Gemm(x, w, b)"
    agree(outcome.before, outcome.after)


def test_a_second_add_stays() -> None:
    outcome = run(main("h = MatMul(x, w)\nn = Add(h, b)\ny = Add(n, b)"), FUSE)
    assert outcome.lines == ["n = Gemm(x, w, b)", "y = Add(n, b)"]
    agree(outcome.before, outcome.after)


def test_two_layers() -> None:
    body = "h = MatMul(x, w)\nn = Add(h, b)\nk = MatMul(n, v)\ny = Add(c, k)"
    outcome = run(main(body, v=normal(4, 5), c=normal(5)), FUSE)
    assert outcome.lines == ["n = Gemm(x, w, b)", "y = Gemm(n, v, c)"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("ir", [3, 10])
def test_constant_nodes(ir: int) -> None:
    model = placed("main", BODY, x=X, y=Y, ir=ir, opset=9)
    for name, array in values().items():
        node = helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
        # The addend may be made after the product.
        model.graph.node.insert(1 if name == "b" else 0, node)
    outcome = run(model, FUSE)
    assert piece(outcome.after, "main") == ["n = Gemm(x, w, b)", "y = Relu(n)"]
    agree(outcome.before, outcome.after)


def test_the_addend_is_made_between_the_two() -> None:
    head = "h = MatMul(x, w)\nb = Constant <value = float[4] {1.0, 2.0, 3.0, 4.0}> ()\n"
    model = placed("main", head + "y = Add(b, h)", {"w": normal(3, 4)}, x=X, y=Y)
    outcome = run(model, FUSE)
    assert piece(outcome.after, "main") == ["y = Gemm(x, w, b)"]
    agree(outcome.before, outcome.after)


def test_a_reader_in_a_body_follows() -> None:
    text = f"""{HEAD} g ({X} x, bool t) => ({Y} y) {{
        h = MatMul(x, w) n = Add(h, b)
        y = If(t) <then_branch = p () => ({Y} a) <float[1] h = {{2.0}}> {{ a = Mul(n, h) }},
                   else_branch = q () => ({Y} e) {{ e = Neg(n) }}>
    }}"""
    outcome = run(parse(text, **values()), FUSE)
    assert outcome.lines[0] == "n = Gemm(x, w, b)"
    agree(outcome.before, outcome.after)


BODIES: dict[str, tuple[str, str, Mapping[str, Array], str | None]] = {
    "no product": ("h = Abs(x)\ny = Add(h, b)", Y, {}, None),
    "another operator": ("h = MatMul(x, w)\ny = Sub(h, b)", X, {}, None),
    "two readers": ("h = MatMul(x, w)\nn = Add(h, b)\nk = Neg(h)\ny = Add(n, k)", X, {}, READ),
    "added to itself": ("h = MatMul(x, w)\ny = Add(h, h)", X, {}, READ),
    "two products": ("h = MatMul(x, w)\nk = MatMul(x, w)\ny = Add(h, k)", X, {}, NOT_CONSTANT),
    "addend computed": ("h = MatMul(x, w)\nk = Abs(h2)\ny = Add(k, h)".replace("h2", "b"), X, {},
                        NOT_CONSTANT),
    "a batch of matrices": ("h = MatMul(x, w)\nr = Add(h, b)\ny = ReduceSum <keepdims = 0>(r)",
                            "float[5,2,3]", {}, NOT_MATRICES),
    "matrices over a batch": ("h = MatMul(x, w)\nr = Add(h, b)\ny = ReduceSum <keepdims = 0>(r)",
                              X, {"w": normal(5, 3, 4)}, NOT_MATRICES),
    "row vector": ("h = MatMul(x, w)\nr = Add(h, b)\ny = Abs(r)", "float[3]", {}, NOT_MATRICES),
    "column vector": ("h = MatMul(x, w)\nr = Add(h, b)\ny = Abs(r)", X,
                      {"w": normal(3), "b": normal(2)}, NOT_MATRICES),
    "widens one column": ("h = MatMul(x, w)\ny = Add(h, b)", X, {"w": normal(3, 1)}, WIDENS),
    "widens one row": ("h = MatMul(x, w)\ny = Add(h, b)", "float[1,3]", {"b": normal(5, 4)},
                       WIDENS),
    "widens the rank": ("h = MatMul(x, w)\nr = Add(h, b)\ny = ReduceSum <keepdims = 0>(r)", X,
                        {"b": normal(1, 1, 4)}, WIDENS),
    "rows not known": ("h = MatMul(x, w)\ny = Add(h, b)", 'float["N",3]', {"b": normal(2, 4)},
                       WIDENS),
    "rows not named": ("h = MatMul(x, w)\ny = Add(h, b)", "float[?,3]", {"b": normal(2, 1)},
                       WIDENS),
}  # fmt: skip


@pytest.mark.parametrize("case", BODIES)
def test_refused(case: str) -> None:
    body, x, changed, reason = BODIES[case]
    kinds = "float[?]" if "vector" in case else "float" if "ReduceSum" in body else "float[?,?]"
    refused(main(body, x, kinds, **changed), FUSE, reason)


@pytest.mark.parametrize("shape", [(4,), (1, 4)])
def test_columns_not_known(shape: tuple[int, ...]) -> None:
    """A row of 4 would widen a product with one column."""
    text = (
        f'{HEAD} g ({X} x, float[3,"M"] w) => (float[2,4] y) {{ h = MatMul(x, w) y = Add(h, b) }}'
    )
    refused(parse(text, b=normal(*shape)), FUSE, WIDENS)


def test_an_unknown_rank() -> None:
    nodes = "k = com.example.Odd(x) h = MatMul(k, w) y = Add(h, b)"
    refused(parse(f"{HEAD} g ({X} x) => ({Y} y) {{ {nodes} }}", **values()), FUSE, NOT_MATRICES)
    body = "h = MatMul(x, w)\ny = Add(h, b)"
    refused(placed("function", body, values(), x=X, y=Y), FUSE, NOT_MATRICES)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32])
def test_integers(dtype: Any) -> None:
    constants = {name: (array * 5).astype(dtype) for name, array in values().items()}
    x, y = X.replace("float", kind(dtype)), Y.replace("float", kind(dtype))
    model = placed("main", "h = MatMul(x, w)\ny = Add(h, b)", constants, x=x, y=y)
    refused(model, FUSE, TYPES)


def test_bfloat16() -> None:
    body = "h = MatMul(x, w)\ny = Add(h, b)"
    model = placed("main", body, x=X.replace("float", "bfloat16"), y=Y.replace("float", "bfloat16"))
    for name, shape in (("w", (3, 4)), ("b", (4,))):
        tensor = typed(name, TensorProto.BFLOAT16, [1.5] * int(np.prod(shape)), shape)
        model.graph.initializer.append(tensor)
    refused(model, FUSE, TYPES)


@pytest.mark.parametrize("opset", [1, 6])
def test_below_opset_7(opset: int) -> None:
    body = "h = MatMul(x, w)\ny = Add <broadcast = 1> (h, b)"
    model = placed("main", body, values(), x=X, y=Y, opset=opset)
    refused(model, FUSE, "Gemm broadcasts from opset 7 on")


def test_the_product_is_a_graph_output() -> None:
    text = f"{HEAD} g ({X} x) => ({Y} y, {Y} h) {{ h = MatMul(x, w) y = Add(h, b) }}"
    refused(parse(text, **values()), FUSE, READ)


def test_the_add_stands_in_a_body() -> None:
    text = f"""{HEAD} g ({X} x, bool t) => ({Y} y) {{
        h = MatMul(x, w)
        y = If(t) <then_branch = p () => ({Y} a) {{ a = Add(b, h) }},
                   else_branch = q () => ({Y} e) {{ e = MatMul(x, w) }}>
    }}"""
    refused(parse(text, **values()), FUSE, NOT_PLAIN)


def test_an_overridable_addend() -> None:
    text = f"{HEAD} g ({X} x, float[4] b) => ({Y} y) {{ h = MatMul(x, w) y = Add(h, b) }}"
    refused(parse(text, **values()), FUSE, NOT_CONSTANT)


def test_other_domains() -> None:
    for nodes, reason in (
        ("h = com.example.MatMul(x, w) y = Add(h, b)", NOT_PLAIN),
        ("h = MatMul(x, w) y = com.example.Add(h, b)", None),
    ):
        refused(parse(f"{HEAD} g ({X} x) => ({Y} y) {{ {nodes} }}", **values()), FUSE, reason)


@few
@given(
    st.lists(st.integers(1, 3), min_size=3, max_size=3),
    st.lists(st.integers(1, 3), max_size=3),
    st.sampled_from(["Add(h, b)", "Add(b, h)"]),
)
def test_any_shapes(sizes: list[int], shape: list[int], add: str) -> None:
    """Fused exactly where the sum is as large as the product."""
    rows, inner, columns = sizes
    try:
        total = np.broadcast_shapes((rows, columns), shape)
    except ValueError:
        return
    constants = {"w": normal(inner, columns), "b": normal(*shape, seed=6)}
    x, y = f"float[{rows},{inner}]", f"float{dims(np.empty(total))}"
    outcome = run(placed("main", f"h = MatMul(x, w)\ny = {add}", constants, x=x, y=y), FUSE)
    assert outcome.rewrites == (total == (rows, columns))
    agree(outcome.before, outcome.after)

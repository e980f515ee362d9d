"""fuse_linear_chain: MatMul, Gemm and Conv in all mixtures; the numbers of the new parameters."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper, numpy_helper

from graphopt.passes.fuse.fuse_linear_chain import FuseLinearChain
from tests.build import few
from tests.passes.fuse.fused import dims, kind, normal, rounded_once
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed
from tests.passes.support import Array, agree, random_feeds, run

FUSE = FuseLinearChain()
X = "float[2,5,4]"
Y = "float[2,5,3]"
CHAIN = "h = MatMul(x, w)\nn = Add(h, b)\nk = MatMul(n, v)\nm = Add(c, k)\ny = Relu(m)"


def values(**changed: Array) -> dict[str, Array]:
    made = {"w": normal(4, 5), "b": normal(5, seed=4), "v": normal(5, 3, seed=5)}
    return {**made, "c": normal(3, seed=6), **changed}


def main(body: str, x: str = X, y: str = Y, opset: int = 18, **changed: Array) -> ModelProto:
    used = {name: array for name, array in values(**changed).items() if name in body}
    return placed("main", body, used, x=x, y=y, opset=opset)


def kinds(lines: list[str]) -> list[str]:
    return [entry.split(" = ")[1].split("(")[0] for entry in lines]


@pytest.mark.parametrize("place", ["main", "if", "function"])
def test_fuses(place: Place) -> None:
    assert place in PLACES
    outcome = run(placed(place, CHAIN, values(), x=X, y=Y), FUSE)
    assert kinds(piece(outcome.after, place)) == ["MatMul", "Add", "Relu"]
    assert (outcome.rewrites, outcome.skipped, outcome.left_out) == (1, {}, [])
    agree(outcome.before, outcome.after)


def test_in_a_loop() -> None:
    given = values(v=normal(5, 4), c=normal(4))
    outcome = run(placed("loop", CHAIN, given, x=X), FUSE)
    assert kinds(piece(outcome.after, "loop")) == ["MatMul", "Add", "Relu"]
    agree(outcome.before, outcome.after)


def test_numbers_are_rounded_once() -> None:
    outcome = run(main(CHAIN), FUSE)
    given = {name: array.astype(np.float64) for name, array in values().items()}
    made = {array.ndim: array for name, array in outcome.weights.items() if name.startswith("m_")}
    rounded_once(made[2], given["w"] @ given["v"])
    rounded_once(made[1], given["b"] @ given["v"] + given["c"])


@pytest.mark.parametrize(("first", "second"), list(product([False, True], repeat=2)))
def test_with_and_without_what_they_add(first: bool, second: bool) -> None:
    body = "h = MatMul(x, w)\n" + ("n = Add(h, b)\n" if first else "")
    body += f"k = MatMul({'n' if first else 'h'}, v)\n" + ("m = Add(k, c)\n" if second else "")
    body += f"y = Relu({'m' if second else 'k'})"
    outcome = run(main(body), FUSE)
    expected = ["MatMul", "Add", "Relu"] if first or second else ["MatMul", "Relu"]
    assert kinds(outcome.lines) == expected
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("forms", [("Gemm", "Gemm"), ("Gemm", "MatMul"), ("MatMul", "Gemm")])
@pytest.mark.parametrize("transposed", [False, True])
def test_gemm(forms: tuple[str, str], transposed: bool) -> None:
    w, v = normal(4, 5), normal(5, 3, seed=5)
    turned = "Gemm <transB = 1>" if transposed else "Gemm"
    body = ""
    for form, source, weight, bias, result in zip(
        forms, ("x", "n"), ("w", "v"), ("b", "c"), ("n", "m"), strict=True
    ):
        if form == "Gemm":
            body += f"{result} = {turned}({source}, {weight}, {bias})\n"
        else:
            body += f"{result}0 = MatMul({source}, {weight})\n{result} = Add({result}0, {bias})\n"
    if transposed:
        w = w.T.copy() if forms[0] == "Gemm" else w
        v = v.T.copy() if forms[1] == "Gemm" else v
    outcome = run(main(body + "y = Relu(m)", x="float[6,4]", y="float[6,3]", w=w, v=v), FUSE)
    assert kinds(outcome.lines) == ["Gemm", "Relu"]
    agree(outcome.before, outcome.after)


def test_three_layers() -> None:
    body = "h = MatMul(x, w)\nk = MatMul(h, v)\nm = MatMul(k, u)\ny = Add(m, c)"
    outcome = run(main(body, u=normal(3, 3, seed=9)), FUSE)
    assert kinds(outcome.lines) == ["MatMul", "Add"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("x", ["float[4]", "float[6,4]", 'float["N",1,5,4]'])
def test_ranks(x: str) -> None:
    outcome = run(main(CHAIN, x=x, y=x.replace("4]", "3]")), FUSE)
    assert outcome.rewrites == 1
    feeds = [random_feeds(outcome.before, 1, {"N": n}) for n in (0, 1, 3)]
    agree(outcome.before, outcome.after, feeds)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_types(dtype: Any) -> None:
    given = {name: array.astype(dtype) for name, array in values().items()}
    x, y = (text.replace("float", kind(dtype)) for text in (X, Y))
    outcome = run(placed("main", CHAIN, given, x=x, y=y), FUSE)
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("ir", [3, 10])
def test_constant_nodes(ir: int) -> None:
    model = placed("main", CHAIN, x=X, y=Y, ir=ir, opset=9)
    for name, array in values().items():
        node = helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
        model.graph.node.insert(0, node)
    outcome = run(model, FUSE)
    assert kinds(piece(outcome.after, "main")) == ["MatMul", "Add", "Relu"]
    agree(outcome.before, outcome.after)


def test_the_result_is_a_graph_output() -> None:
    outcome = run(main("h = MatMul(x, w)\ny = MatMul(h, v)"), FUSE)
    assert kinds(outcome.lines) == ["MatMul"]
    assert outcome.lines[0].startswith("y = ")
    agree(outcome.before, outcome.after)


def convs(
    first: str, second: str, w: Array, v: Array, *, x: str = "float[2,4,7,7]", **more: Array
) -> ModelProto:
    body = f"h = Conv {first}\nk = Conv {second}\ny = Relu(k)"
    return placed("main", body, {"w": w, "v": v, **more}, x=x, y="float[?,?,?,?]")


POINT = normal(5, 4, 1, 1)
CONVS: dict[str, tuple[str, str, Array, Array]] = {
    "both of kernel 1": ("(x, w, b)", "(h, v, c)", POINT, normal(3, 5, 1, 1)),
    "then a larger one": ("(x, w, b)", "(h, v, c)", POINT, normal(3, 5, 3, 3)),
    "strided, dilated": ("(x, w, b)", "<strides = [2, 1], dilations = [1, 2]> (h, v, c)", POINT,
                         normal(3, 5, 3, 2)),
    "padded behind no bias": ("(x, w)", "<pads = [1, 0, 2, 1]> (h, v, c)", POINT,
                              normal(3, 5, 3, 3)),
    "as large behind no bias": ("(x, w)", '<auto_pad = "SAME_UPPER"> (h, v)', POINT,
                                normal(3, 5, 3, 3)),
    "a larger one first": ("<pads = [1, 1, 1, 1], strides = [2, 2]> (x, w, b)", "(h, v, c)",
                           normal(5, 4, 3, 3), normal(3, 5, 1, 1)),
    "a larger one first, same": ('<auto_pad = "SAME_LOWER"> (x, w, b)', "(h, v)",
                                 normal(5, 4, 3, 3), normal(3, 5, 1, 1)),
    "no bias": ("(x, w)", "(h, v)", POINT, normal(3, 5, 1, 1)),
    "a bias behind none": ("(x, w)", "(h, v, c)", POINT, normal(3, 5, 3, 3)),
    "kernels written out": ("<kernel_shape = [1, 1]> (x, w, b)", "<kernel_shape = [3, 3]> (h, v)",
                            POINT, normal(3, 5, 3, 3)),
}  # fmt: skip


@pytest.mark.parametrize("case", CONVS)
def test_convs(case: str) -> None:
    first, second, w, v = CONVS[case]
    outcome = run(convs(first, second, w, v, b=normal(5, seed=8), c=normal(3, seed=9)), FUSE)
    assert kinds(outcome.lines) == ["Conv", "Relu"]
    assert (outcome.rewrites, outcome.skipped) == (1, {})
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", GRAPHS)
def test_convs_in_bodies(place: Place) -> None:
    body = "h = Conv(x, w, b)\ny = Conv <pads = [0, 0]> (h, v)"
    constants = {"w": normal(5, 4, 1), "b": normal(5), "v": normal(4, 5, 1, seed=2)}
    outcome = run(placed(place, body, constants, x="float[2,4,7]"), FUSE)
    assert kinds(piece(outcome.after, place)) == ["Conv"]
    agree(outcome.before, outcome.after)


def test_conv_numbers_are_rounded_once() -> None:
    w, v, b = POINT, normal(3, 5, 2, 2), normal(5, seed=8)
    outcome = run(convs("(x, w, b)", "(h, v)", w, v, b=b), FUSE)
    made = {array.ndim: array for name, array in outcome.weights.items() if name.startswith("v_")}
    wide_w, wide_v = w.astype(np.float64), v.astype(np.float64)
    rounded_once(made[4], np.einsum("ijkl,jm->imkl", wide_v, wide_w[:, :, 0, 0]))
    rounded_once(made[1], np.einsum("ijkl,j->i", wide_v, b.astype(np.float64)))


@few
@given(
    st.lists(st.integers(1, 4), min_size=3, max_size=3),
    st.booleans(), st.booleans(), st.lists(st.integers(1, 3), max_size=2),
)  # fmt: skip
def test_any_widths(sizes: list[int], first: bool, second: bool, batch: list[int]) -> None:
    """Fused exactly where the new weight is no larger than both."""
    rows, inner, columns = sizes
    constants = {"w": normal(rows, inner), "v": normal(inner, columns, seed=2)}
    body, result = "h = MatMul(x, w)\n", "h"
    if first:
        constants["b"] = normal(inner, seed=3)
        body, result = body + "n = Add(h, b)\n", "n"
    body, result = body + f"k = MatMul({result}, v)\n", "k"
    if second:
        constants["c"] = normal(columns, seed=4)
        body, result = body + "m = Add(k, c)\n", "m"
    x, y = (f"float{dims(np.empty([*batch, n]))}" for n in (rows, columns))
    outcome = run(placed("main", body + f"y = Neg({result})", constants, x=x, y=y), FUSE)
    assert outcome.rewrites == int(rows * columns <= rows * inner + inner * columns)
    agree(outcome.before, outcome.after)

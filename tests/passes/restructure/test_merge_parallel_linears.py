"""merge_parallel_linears: which layers become one, how they are stored, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper, numpy_helper

from graphopt.passes.restructure.merge_parallel_linears import MergeParallelLinears
from tests.build import few, parse
from tests.passes.fuse.fused import kind, normal, refused
from tests.passes.placed import Place, piece, placed, stored
from tests.passes.support import Array, agree, random_feeds, run

MERGE = MergeParallelLinears()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
X = "float[2,5,3]"
Y = "float[2,5,4]"
QKV = """
    q0 = MatMul(x, wq)
    q = Add(q0, bq)
    k0 = MatMul(x, wk)
    k = Add(bk, k0)
    v0 = MatMul(x, wv)
    v = Add(v0, bv)
    s = Sub(q, k)
    y = Mul(s, v)
"""
BARE = "q = MatMul(x, wq)\nk = MatMul(x, wk)\nv = MatMul(x, wv)\ns = Sub(q, k)\ny = Mul(s, v)"
GEMMS = (
    "q = Gemm(x, wq, bq)\nk = Gemm(x, wk, bk)\nv = Gemm(x, wv, bv)\ns = Sub(q, k)\ny = Mul(s, v)"
)
NO_FEWER = "no fewer nodes would remain"
ELSEWHERE = "a weight is read elsewhere"


def values(**changed: Array) -> dict[str, Array]:
    made = {f"w{name}": normal(3, 4, seed=seed) for seed, name in enumerate("qkv")}
    made |= {f"b{name}": normal(4, seed=seed + 5) for seed, name in enumerate("qkv")}
    return {**made, **changed}


def main(body: str, x: str = X, y: str = Y, opset: int = 18, **changed: Array) -> ModelProto:
    return placed("main", body, values(**changed), x=x, y=y, opset=opset)


def kinds(lines: list[str]) -> list[str]:
    return [entry.split(" = ")[1].split("(")[0] for entry in lines]


@pytest.mark.parametrize("place", ["main", "if", "function"])
def test_merges_with_what_they_add(place: Place) -> None:
    outcome = run(placed(place, QKV, values(), x=X, y=Y), MERGE)
    lines = piece(outcome.after, place)
    assert kinds(lines) == ["MatMul", "Add", "Split", "Sub", "Mul"]
    assert lines[2].startswith("q, k, v = Split(")
    assert (outcome.rewrites, outcome.skipped, outcome.left_out) == (1, {}, [])
    agree(outcome.before, outcome.after)


def test_in_a_loop() -> None:
    body = QKV.replace("y = Mul(s, v)", "u = Mul(s, v)\ny = MatMul(u, back)")
    outcome = run(placed("loop", body, values(back=normal(4, 3)), x=X), MERGE)
    assert kinds(piece(outcome.after, "loop")) == ["MatMul", "Add", "Split", "Sub", "Mul", "MatMul"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", ["if", "loop"])
def test_constants_captured_from_the_main_graph(place: Place) -> None:
    square = {name: normal(3, 3, seed=7) for name in ("wq", "wk", "wv")}
    given = values(**square, **{name: normal(3, seed=2) for name in ("bq", "bk", "bv")})
    outcome = run(placed(place, QKV, given, x=X, y=X, captured=True), MERGE)
    assert kinds(piece(outcome.after, place))[:3] == ["MatMul", "Add", "Split"]
    assert {"wq_merged", "wq_merged_bias"} <= stored(outcome.after, place)
    agree(outcome.before, outcome.after)


def test_weights_stand_side_by_side() -> None:
    outcome = run(main(QKV), MERGE)
    given = values()
    wanted = np.concatenate([given["wq"], given["wk"], given["wv"]], axis=1)
    assert outcome.weights["wq_merged"].tobytes() == wanted.tobytes()
    wanted = np.concatenate([given["bq"], given["bk"], given["bv"]])
    assert outcome.weights["wq_merged_bias"].tobytes() == wanted.tobytes()


@pytest.mark.parametrize("opset", [7, 11, 12, 13, 17, 18, 21])
def test_opsets(opset: int) -> None:
    outcome = run(main(BARE, opset=opset), MERGE)
    assert kinds(outcome.lines) == ["MatMul", "Split", "Sub", "Mul"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("opset", [11, 18])
def test_different_widths(opset: int) -> None:
    """Grouped attention: fewer keys and values than queries."""
    body = (
        "q = MatMul(x, wq)\nk = MatMul(x, wk)\nv = MatMul(x, wv)\ny = Concat <axis = 2> (v, q, k)"
    )
    model = main(body, y="float[2,5,8]", opset=opset, wk=normal(3, 2), wv=normal(3, 2, seed=9))
    outcome = run(model, MERGE)
    assert kinds(outcome.lines) == ["MatMul", "Split", "Concat"]
    agree(outcome.before, outcome.after)


def test_one_of_them_adds_nothing() -> None:
    body = QKV.replace("k = Add(bk, k0)", "").replace("Sub(q, k)", "Sub(q, k0)")
    outcome = run(main(body), MERGE)
    assert kinds(outcome.lines) == ["MatMul", "Add", "Split", "Sub", "Mul"]
    assert not outcome.weights["wq_merged_bias"][4:8].any()
    agree(outcome.before, outcome.after)


def test_two_with_their_adds() -> None:
    body = "q0 = MatMul(x, wq)\nq = Add(q0, bq)\nk0 = MatMul(x, wk)\nk = Add(k0, bk)\ny = Sub(q, k)"
    outcome = run(main(body), MERGE)
    assert kinds(outcome.lines) == ["MatMul", "Add", "Split", "Sub"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (1, 4), (1, 1, 1)])
def test_every_row_that_is_added(shape: tuple[int, ...]) -> None:
    outcome = run(main(QKV, bk=normal(*shape)), MERGE)
    assert kinds(outcome.lines) == ["MatMul", "Add", "Split", "Sub", "Mul"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("shape", [(5, 4), (5, 1), (2, 1, 1)])
def test_what_is_added_by_place_stays_behind(shape: tuple[int, ...]) -> None:
    outcome = run(main(QKV, bk=normal(*shape)), MERGE)
    assert kinds(outcome.lines) == ["MatMul", "Add", "Split", "Add", "Sub", "Mul"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("x", ["float[3]", "float[5,3]", "float[1,2,5,3]", 'float["B","N",3]'])
def test_ranks(x: str) -> None:
    outcome = run(main(QKV, x=x, y=x.replace("3]", "4]")), MERGE)
    assert outcome.rewrites == 1
    feeds = [random_feeds(outcome.before, 1, {"B": b, "N": 5}) for b in (0, 1, 3)]
    agree(outcome.before, outcome.after, feeds)


@pytest.mark.parametrize("transposed", [False, True])
def test_gemms(transposed: bool) -> None:
    body, given = GEMMS, {}
    if transposed:
        body = GEMMS.replace("Gemm", "Gemm <transB = 1>")
        given = {name: normal(4, 3, seed=3) for name in ("wq", "wk", "wv")}
        given["wk"] = normal(4, 3, seed=4)
    outcome = run(main(body, "float[5,3]", "float[5,4]", 18, **given), MERGE)
    assert kinds(outcome.lines) == ["Gemm", "Split", "Sub", "Mul"]
    assert outcome.weights["wq_merged"].shape == ((12, 3) if transposed else (3, 12))
    agree(outcome.before, outcome.after)


def test_gemms_one_of_which_is_transposed() -> None:
    body = GEMMS.replace("k = Gemm", "k = Gemm <transB = 1>").replace(", bv", "")
    model = main(body, x="float[5,3]", y="float[5,4]", wk=normal(4, 3, seed=3), bk=normal(1))
    outcome = run(model, MERGE)
    assert kinds(outcome.lines) == ["Gemm", "Split", "Sub", "Mul"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_types(dtype: Any) -> None:
    given = {name: array.astype(dtype) for name, array in values().items()}
    x, y = (kinds_.replace("float", kind(dtype)) for kinds_ in (X, Y))
    outcome = run(placed("main", QKV, given, x=x, y=y), MERGE)
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("ir", [3, 10])
def test_constant_nodes(ir: int) -> None:
    model = placed("main", QKV, x=X, y=Y, ir=ir, opset=11)
    for place, (name, array) in enumerate(values().items()):
        node = helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
        model.graph.node.insert(min(place, 1), node)
    outcome = run(model, MERGE)
    assert kinds(piece(outcome.after, "main")) == ["MatMul", "Add", "Split", "Sub", "Mul"]
    agree(outcome.before, outcome.after)


def test_results_that_are_graph_outputs_keep_their_names() -> None:
    text = f"{HEAD} g ({X} x) => ({Y} q, {Y} k, {Y} v) {{ {QKV.split('s =')[0]} }}"
    outcome = run(parse(text, **values()), MERGE)
    assert kinds(outcome.lines) == ["MatMul", "Add", "Split"]
    assert outcome.lines[2].startswith("q, k, v = ")
    agree(outcome.before, outcome.after)


def test_a_product_that_is_a_graph_output_keeps_its_add() -> None:
    text = f"{HEAD} g ({X} x) => ({Y} y, {Y} k0) {{ {QKV} }}"
    outcome = run(parse(text, **values()), MERGE)
    assert kinds(outcome.lines) == ["MatMul", "Add", "Split", "Add", "Sub", "Mul"]
    agree(outcome.before, outcome.after)


def test_readers_between_them() -> None:
    """The one product is made where the first was."""
    body = "q = MatMul(x, wq)\nn = Neg(q)\nk = MatMul(x, wk)\n"
    body += "m = Mul(n, k)\nv = MatMul(x, wv)\ny = Sub(m, v)"
    outcome = run(main(body), MERGE)
    assert kinds(outcome.lines) == ["MatMul", "Split", "Neg", "Mul", "Sub"]
    agree(outcome.before, outcome.after)


def test_one_reads_the_result_of_another() -> None:
    body = "q = MatMul(x, wq)\nz = MatMul(q, wz)\nk = MatMul(x, wk)\n"
    body += "v = MatMul(x, wv)\ns = Sub(z, k)\ny = Mul(s, v)"
    outcome = run(main(body, wz=normal(4, 4)), MERGE)
    assert kinds(outcome.lines) == ["MatMul", "Split", "MatMul", "Sub", "Mul"]
    agree(outcome.before, outcome.after)


REFUSED: dict[str, tuple[str, dict[str, Array], str | None]] = {
    "one": ("q = MatMul(x, wq)\ny = Neg(q)", {}, None),
    "a gated MLP": ("q = MatMul(x, wq)\nk = MatMul(x, wk)\ng = Sigmoid(q)\nh = Mul(q, g)\n"
                    "y = Mul(h, k)", {}, NO_FEWER),
    "two, one of which adds": ("q = MatMul(x, wq)\nk0 = MatMul(x, wk)\nk = Add(k0, bk)\n"
                               "y = Mul(q, k)", {}, NO_FEWER),
    "a shared weight": (BARE.replace("y = ", "m = ") + "\nj = MatMul(n, wq)\ny = Add(m, j)", {},
                        ELSEWHERE),
    "one weight": (BARE.replace("wk", "wq"), {}, ELSEWHERE),
    "two tensors": (BARE.replace("MatMul(x, wk)", "MatMul(n, wk)"), {}, NO_FEWER),
    "computed": (BARE.replace("k = MatMul(x, wk)", "k1 = Abs(wk)\nk = MatMul(x, k1)"), {},
                 NO_FEWER),
    "a batch of matrices": (BARE, {"wk": normal(2, 3, 4)}, NO_FEWER),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    body, changed, reason = REFUSED[case]
    if "(n, " in body:
        body = "n = Neg(x)\n" + body
    refused(main(body, X, Y, 18, **changed), MERGE, reason)


def test_one_weight_is_a_graph_output() -> None:
    text = f"{HEAD} g ({X} x) => ({Y} y, float[3,4] wk) {{ {BARE} }}"
    refused(parse(text, **values()), MERGE, ELSEWHERE)


def test_an_overridable_weight() -> None:
    text = f"{HEAD} g ({X} x, float[3,4] wk) => ({Y} y) {{ {BARE} }}"
    refused(parse(text, **values()), MERGE, NO_FEWER)


def test_products_too_wide_to_copy_apart() -> None:
    reason = "copying the parts would take longer than the products save"
    refused(main(BARE), MergeParallelLinears(max_width=11), reason)
    assert run(main(BARE), MergeParallelLinears(max_width=12)).rewrites == 1


@pytest.mark.parametrize("form", ["Gemm <alpha = 0.5>", "Gemm <beta = 2.0>", "Gemm <transA = 1>"])
def test_gemms_that_scale(form: str) -> None:
    model = main(GEMMS.replace("Gemm", form), x="float[3,3]", y="float[3,4]")
    refused(model, MERGE, "Gemm scales, or transposes its input")


def test_gemms_that_add_by_row() -> None:
    model = main(GEMMS, x="float[5,3]", y="float[5,4]", bk=normal(5, 1), bv=normal(5, 4))
    refused(model, MERGE, "what Gemm adds varies by row")


def test_integers() -> None:
    given = {name: (array * 5).astype(np.int32) for name, array in values().items()}
    x, y = X.replace("float", "int32"), Y.replace("float", "int32")
    refused(placed("main", BARE, given, x=x, y=y), MERGE, None)


def test_before_opset_11_a_function_does_not_know_its_last_axis() -> None:
    refused(
        placed("function", BARE, values(), x=X, y=Y, opset=10), MERGE, "the last axis is not known"
    )


def test_other_domains_and_graphs() -> None:
    text = f"{HEAD} g ({X} x) => ({Y} y) {{ {BARE.replace('k = Mat', 'k = com.example.Mat')} }}"
    refused(parse(text, **values()), MERGE, NO_FEWER)
    text = f"""{HEAD} g ({X} x, bool t) => ({Y} y) {{
        q = MatMul(x, wq) k = MatMul(x, wk)
        y = If(t) <then_branch = p () => ({Y} v) {{ v = MatMul(x, wv) }},
                   else_branch = o () => ({Y} e) {{ e = Mul(q, k) }}>
    }}"""
    refused(parse(text, **values()), MERGE, NO_FEWER)


@few
@given(
    st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=2, max_size=4),
    st.lists(st.integers(1, 3), max_size=2),
)
def test_any_layers(layers: list[tuple[int, bool]], batch: list[int]) -> None:
    """Merged exactly where fewer nodes remain."""
    body, constants, names = "", {}, []
    for index, (width, adds) in enumerate(layers):
        constants[f"w{index}"] = normal(3, width, seed=index)
        body += f"p{index} = MatMul(x, w{index})\n"
        if adds:
            constants[f"b{index}"] = normal(width, seed=index + 9)
            body += f"a{index} = Add(p{index}, b{index})\n"
        names.append(f"{'a' if adds else 'p'}{index}")
    body += f"y = Concat <axis = -1> ({', '.join(reversed(names))})"
    x = f"float[{','.join(map(str, [*batch, 3]))}]"
    y = f"float[{','.join(map(str, [*batch, sum(width for width, _ in layers)]))}]"
    outcome = run(placed("main", body, constants, x=x, y=y), MERGE)
    before, after = len(outcome.before.graph.node), len(outcome.after.graph.node)
    adding = sum(adds for _, adds in layers)
    gained = len(layers) + adding - 2 - bool(adding)
    assert before - after == max(gained, 0)
    agree(outcome.before, outcome.after)

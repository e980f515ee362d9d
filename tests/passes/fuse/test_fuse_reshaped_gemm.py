"""fuse_reshaped_gemm: what is flattened, what gives the dimensions back, Gemm's own attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.passes.fuse.fuse_reshaped_gemm import FuseReshapedGemm
from tests.build import few, parse
from tests.passes.fuse.fused import kind, normal, refused
from tests.passes.placed import GRAPHS, Place, piece, placed
from tests.passes.support import Array, agree, answers, random_feeds, run

FUSE = FuseReshapedGemm()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
ARITHMETIC = """
    s = Shape(x)
    b0 = Gather(s, zero)
    b = Unsqueeze(b0, first)
    l0 = Gather(s, one)
    l = Unsqueeze(l0, first)
    target = Concat <axis = 0> (b, l, n)
"""
MIDDLE = """
    f = Reshape(x, flat)
    g = Gemm(f, w, c)
"""
NODES = ARITHMETIC + MIDDLE + "y = Reshape(g, target)"
UNKNOWN_END = "what is flattened is not known to end in the weight's depth"
NOT_UNDONE = "the second reshape is not known to undo the first"
NO_FEWER = "no fewer nodes would remain"


def i64(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def values(**changed: Array) -> dict[str, Array]:
    made: dict[str, Array] = {
        "zero": np.array(0, np.int64), "one": np.array(1, np.int64), "first": i64(0), "n": i64(4),
        "flat": i64(-1, 3), "back": i64(2, 5, 4), "w": normal(3, 4), "c": normal(4, seed=4),
    }  # fmt: skip
    return {**made, **changed}


def main(
    nodes: str = NODES, x: str = "float[B,L,3]", y: str = "float[?,?,?]", **changed: Array
) -> ModelProto:
    return parse(f"{HEAD} g ({x} x) => ({y} y) {{ {nodes} }}", **values(**changed))


def sized(model: ModelProto, *sizes: Mapping[str, int]) -> None:
    """Same answers for several sizes of the open dimensions."""
    outcome = run(model, FUSE)
    assert outcome.rewrites == 1
    feeds = [random_feeds(model, i, size) for i, size in enumerate(sizes)]
    agree(outcome.before, outcome.after, feeds)


def left(outcome_lines: list[str]) -> list[str]:
    """The lines but for shape arithmetic, which other passes remove."""
    return [line for line in outcome_lines if "MatMul" in line or "Add(" in line or "Gemm" in line]


def test_shape_arithmetic_gives_the_dimensions_back() -> None:
    outcome = run(main(), FUSE)
    assert outcome.lines[-2:] == ["y_MatMul = MatMul(x, w)", "y = Add(y_MatMul, c)"]
    assert (outcome.rewrites, outcome.skipped, outcome.left_out) == (1, {}, [])
    assert not any("Reshape" in line for line in outcome.lines)
    sized(main(), {"B": 2, "L": 5}, {"B": 1, "L": 1}, {"B": 0, "L": 4})


@pytest.mark.parametrize("place", GRAPHS)
def test_constants_give_the_dimensions_back(place: Place) -> None:
    nodes = MIDDLE + "h = Reshape(g, back)\ny = Relu(h)"
    outcome = run(placed(place, nodes, values(), x="float[2,5,3]", y="float[2,5,4]")
                  if place != "loop"
                  else placed(place, nodes, values(w=normal(3, 3), c=normal(3), back=i64(2, 5, 3)),
                              x="float[2,5,3]"), FUSE)  # fmt: skip
    assert piece(outcome.after, place) == [
        "h_MatMul = MatMul(x, w)", "h = Add(h_MatMul, c)", "y = Relu(h)",
    ]  # fmt: skip
    agree(outcome.before, outcome.after)


def test_in_a_function_no_shape_is_known() -> None:
    nodes = MIDDLE + "y = Reshape(g, back)"
    model = placed("function", nodes, values(), x="float[2,5,3]", y="float[2,5,4]")
    assert run(model, FUSE).rewrites == 0


@pytest.mark.parametrize(
    ("x", "flatten", "back", "sizes"),
    [
        ("float[2,5,3]", "Reshape(x, flat)", i64(2, 5, 4), {}),
        ("float[2,5,3]", "Reshape(x, flat)", i64(2, -1, 4), {}),
        ("float[2,5,3]", "Reshape(x, flat)", i64(-1, 5, 4), {}),
        ("float[2,5,3]", "Reshape(x, flat)", i64(2, 5, -1), {}),
        ("float[B,5,3]", "Reshape(x, flat)", i64(-1, 5, 4), {"B": 3}),
        ("float[2,L,3]", "Reshape(x, flat)", i64(2, -1, 4), {"L": 7}),
        ("float[2,L,3]", "Flatten <axis = 2> (x)", i64(2, -1, 4), {"L": 7}),
        ("float[2,5,3]", "Flatten <axis = -1> (x)", i64(2, 5, 4), {}),
        ("float[B,1,3]", "Reshape(x, flat)", i64(0, 1, 4), {"B": 3}),
    ],
)
def test_ways_to_flatten_and_to_undo_it(
    x: str, flatten: str, back: Array, sizes: dict[str, int]
) -> None:
    nodes = MIDDLE.replace("Reshape(x, flat)", flatten) + "y = Reshape(g, back)"
    sized(main(nodes, x, back=back), sizes)


def test_four_dimensions() -> None:
    nodes = MIDDLE + "y = Reshape(g, back)"
    sized(main(nodes, "float[2,3,5,3]", "float[?,?,?,?]", back=i64(2, 3, 5, 4)), {})


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.3, 1.0), (1.0, -2.5), (0.3, 0.7)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_attributes_of_gemm(dtype: Any, alpha: float, beta: float, flipped: bool) -> None:
    given = f"alpha = {alpha}, beta = {beta}, transB = {int(flipped)}"
    w, c = normal(4, 3) if flipped else normal(3, 4), normal(4, seed=4)
    nodes = NODES.replace("Gemm(", f"Gemm <{given}> (")
    x, y = (text.replace("float", kind(dtype)) for text in ("float[B,L,3]", "float[?,?,?]"))
    sized(main(nodes, x, y, w=w.astype(dtype), c=c.astype(dtype)), {"B": 2, "L": 3})


@pytest.mark.parametrize("shape", [(), (1,), (4,), (1, 1), (1, 4)])
def test_every_row_that_gemm_adds(shape: tuple[int, ...]) -> None:
    sized(main(c=normal(*shape, seed=8)), {"B": 2, "L": 5})


def test_nothing_to_add() -> None:
    outcome = run(main(NODES.replace("(f, w, c)", "(f, w)")), FUSE)
    assert left(outcome.lines) == ["y = MatMul(x, w)"]
    agree(outcome.before, outcome.after)


def test_a_row_that_is_computed() -> None:
    nodes = NODES.replace("g = Gemm", "k = Neg(c)\ng = Gemm").replace("w, c)", "w, k)")
    sized(main(nodes), {"B": 2, "L": 5})


def test_two_gemms_of_one_flattened_tensor() -> None:
    more = "g2 = Gemm(f, w, c)\ny2 = Reshape(g2, target)\nz = Add(y1, y2)\ny = Relu(z)"
    model = main(NODES.replace("y = Reshape", "y1 = Reshape") + "\n" + more)
    outcome = run(model, FUSE)
    assert outcome.rewrites == 2
    assert not any("Reshape" in line for line in outcome.lines)
    agree(outcome.before, outcome.after)


def test_the_first_reshape_stays_for_others() -> None:
    more = "\nz = ReduceSum <keepdims = 0> (f)"
    text = f"{HEAD} g (float[B,L,3] x) => (float[?,?,?] y, float z) {{ {NODES + more} }}"
    model = parse(text.replace("w, c)", "w)"), **values())
    outcome = run(model, FUSE)
    assert outcome.rewrites == 1
    assert any(line.startswith("f = Reshape") for line in outcome.lines)
    agree(outcome.before, outcome.after)
    refused(parse(text, **values()), FUSE, NO_FEWER)


def test_a_shared_weight_that_stays_as_it_is() -> None:
    more = "\nk = MatMul(x, w)\ny = Add(y1, k)"
    sized(main(NODES.replace("y = Reshape", "y1 = Reshape") + more), {"B": 2, "L": 5})


def test_a_weight_in_a_constant_node() -> None:
    constant = f"w = Constant <value = float[3,4] {{{','.join(map(str, range(12)))}}}> ()\n"
    given = {name: array for name, array in values().items() if name != "w"}
    text = f"{HEAD} g (float[B,L,3] x) => (float[?,?,?] y) {{ {constant + NODES} }}"
    sized(parse(text, **given), {"B": 2, "L": 5})


@pytest.mark.parametrize(
    ("nodes", "x", "changed", "reason"),
    [
        (NODES, "float[B,L,K]", {}, UNKNOWN_END),
        (NODES, "float[B,L,2,3]", {"flat": i64(-1, 3)}, NOT_UNDONE),
        (NODES, "float[B,L,6]", {}, UNKNOWN_END),
        (NODES, "float[B,3]", {}, UNKNOWN_END),
        (NODES.replace("Concat <axis = 0> (b, l, n)", "Concat <axis = 0> (l, b, n)"),
         "float[B,L,3]", {}, NOT_UNDONE),
        (MIDDLE + "y = Reshape(g, back)", "float[B,L,3]", {"back": i64(2, -1, 4)}, NOT_UNDONE),
        (MIDDLE + "y = Reshape(g, back)", "float[2,6,3]", {"back": i64(3, 4, 4)}, NOT_UNDONE),
        (MIDDLE + "y = Reshape(g, back)", "float[2,6,3]", {"back": i64(2, 12, 2)}, NOT_UNDONE),
        (MIDDLE + "y = Reshape(g, back)", "float[B,L,3]", {"back": i64(0, -1, 4)}, NOT_UNDONE),
        (NODES, "float[B,L,3]", {"c": normal(1, 1, 4)}, "the addend is not a row"),
        (NODES, "float[1,1,3]", {"c": normal(1, 1, 4)}, "the addend is not a row"),
        (NODES.replace("Gemm(f, w, c)", "Gemm <transA = 0, alpha = 0.0> (f, w, c)"),
         "float[B,L,3]", {}, "a fused parameter is not finite, or 0"),
    ],
)  # fmt: skip
def test_refusals(nodes: str, x: str, changed: dict[str, Any], reason: str) -> None:
    refused(main(nodes, x, **changed), FUSE, reason)


def test_refuses_a_column_to_add() -> None:
    nodes = MIDDLE + "y = Reshape(g, back)"
    refused(main(nodes, "float[2,5,3]", c=normal(10, 1)), FUSE, "the addend is not a row")


@pytest.mark.parametrize(
    "nodes",
    [
        NODES.replace("Gemm(", "Gemm <transA = 1> ("),
        NODES.replace("y = Reshape(g, target)", "y = Relu(g)"),
        NODES.replace("f = Reshape(x, flat)", "f = ReduceSum <keepdims = 0> (x, first)"),
    ],
)
def test_other_graphs(nodes: str) -> None:
    flipped: dict[str, Any] = {"flat": i64(3, -1)} if "transA" in nodes else {}
    refused(main(nodes, y="float[?,?]" if "Relu" in nodes else "float[?,?,?]", **flipped),
            FUSE, None)  # fmt: skip


@pytest.mark.parametrize("read", ["graph output", "another node"])
def test_refuses_a_product_that_others_read(read: str) -> None:
    more = "" if read == "graph output" else "\nz = Neg(g)"
    out = "g" if read == "graph output" else "z"
    text = f"{HEAD} g (float[B,L,3] x) => (float[?,?,?] y, float[?,?] {out}) {{ {NODES + more} }}"
    refused(parse(text, **values()), FUSE, "the product is read elsewhere")


def test_refuses_a_shared_weight_that_would_change() -> None:
    nodes = NODES.replace("Gemm(", "Gemm <transB = 1> (").replace("y = Re", "y1 = Re")
    more = "\nv = Transpose(w)\nk = MatMul(x, v)\ny = Add(y1, k)"
    refused(main(nodes + more, w=normal(4, 3)), FUSE, "the weight is shared")


def test_refuses_a_weight_that_is_no_constant() -> None:
    text = f"{HEAD} g (float[B,L,3] x, float[3,4] w) => (float[?,?,?] y) {{ {NODES} }}"
    given = {name: array for name, array in values().items() if name != "w"}
    reason = "the weight is not a constant of a floating-point type"
    refused(parse(text, **given), FUSE, reason)
    refused(parse(text, **given, w=normal(3, 4)), FUSE, reason)  # its default can be overridden


def test_refuses_integers() -> None:
    w = np.arange(12, dtype=np.int32).reshape(3, 4)
    model = main(x="int32[B,L,3]", y="int32[?,?,?]", w=w, c=w[0])
    refused(model, FUSE, "the weight is not a constant of a floating-point type")


def test_refuses_what_half_precision_cannot_hold() -> None:
    nodes = NODES.replace("Gemm(", "Gemm <alpha = 1000.0> (")
    given: dict[str, Any] = {"w": np.full((3, 4), 100, np.float16), "c": np.zeros(4, np.float16)}
    model = main(nodes, "float16[B,L,3]", "float16[?,?,?]", **given)
    refused(model, FUSE, "a fused parameter is not finite, or 0")
    small = main(nodes.replace("1000.0", "1e-7"), "float16[B,L,3]", "float16[?,?,?]", **given)
    refused(small, FUSE, "a fused parameter is too small for its type")


def test_a_copied_dimension_is_the_one_of_the_matrix() -> None:
    """A 0 in the last target copies from [B * L, 4]: it is not B."""
    nodes = MIDDLE + "y = Reshape(g, back)"
    model = main(nodes, "float[2,3,3]", back=i64(0, 1, 4))
    assert answers(model, random_feeds(model), reference=False)[0].shape == (6, 1, 4)
    refused(model, FUSE, NOT_UNDONE)


@few
@given(
    lead=st.lists(st.integers(1, 3), min_size=2, max_size=4),
    target=st.data(),
)
def test_only_what_gives_the_dimensions_back(lead: list[int], target: st.DataObject) -> None:
    """Any target that the matrix can take: rewritten only where the answer keeps its shape."""
    total = int(np.prod(lead))
    pool = st.sampled_from([*lead, 4, 1, 0, -1, total])
    back = target.draw(st.lists(pool, min_size=2, max_size=5))
    dims = ",".join(map(str, lead))
    model = main(
        MIDDLE + "y = Reshape(g, back)", f"float[{dims},3]", f"float[{','.join('?' * len(back))}]",
        back=i64(*back),
    )  # fmt: skip
    try:
        expected = answers(model, random_feeds(model), reference=False)[0]
    except Exception:
        return
    outcome = run(model, FUSE)
    assert (outcome.rewrites == 1) == (expected.shape == (*lead, 4))
    agree(outcome.before, outcome.after)

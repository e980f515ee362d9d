"""eliminate_noop: operators that move elements, and leave every one in its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphopt
from graphopt.passes.eliminate.eliminate_noop import EliminateNoop
from tests.build import few
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed
from tests.passes.support import Array, agree, run

PASS = EliminateNoop()
IMAGE = "float[1,2,3,4]"
EMPTY = np.zeros((1, 2, 3, 0), np.float32)


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


def i64(*values: int) -> Array:
    return np.array(values, np.int64)


FREE: dict[str, tuple[str, dict[str, Array]]] = {
    "Split into one": ("Split <num_outputs = 1> (x)", {}),
    "Split, sizes": ("Split <axis = 1> (x, c)", {"c": i64(2)}),
    "Unsqueeze of nothing": ("Unsqueeze(x, c)", {"c": i64()}),
    "DepthToSpace by 1": ("DepthToSpace <blocksize = 1> (x)", {}),
    "DepthToSpace by 1, CRD": ('DepthToSpace <blocksize = 1, mode = "CRD"> (x)', {}),
    "SpaceToDepth by 1": ("SpaceToDepth <blocksize = 1> (x)", {}),
    "Einsum": ('Einsum <equation = "abcd -> abcd"> (x)', {}),
    "Resize by 1": ("Resize(x, , c)", {"c": f32(1, 1, 1, 1)}),
    "Resize of two axes": ("Resize <axes = [2, 3]> (x, , c)", {"c": f32(1, 1)}),
    "Resize, floor": (
        'Resize <nearest_mode = "floor", coordinate_transformation_mode = "asymmetric"> (x, , c)',
        {"c": f32(1, 1, 1, 1)},
    ),
    "Resize, ceil": ('Resize <nearest_mode = "ceil"> (x, , c)', {"c": f32(1, 1, 1, 1)}),
    "Concat with what is empty": ("Concat <axis = 3> (e, x, e)", {"e": EMPTY}),
    "Concat, axis from the end": ("Concat <axis = -1> (x, e)", {"e": EMPTY}),
}  # fmt: skip
"""Nothing of x's shape need be known."""
SHAPED: dict[str, tuple[str, dict[str, Array]]] = {
    "Gather of all": ("Gather <axis = 2> (x, c)", {"c": i64(0, 1, 2)}),
    "Gather of all, from the end": ("Gather <axis = -1> (x, c)", {"c": i64(0, -3, 2, -1)}),
    "Gather of one": ("Gather(x, c)", {"c": np.array([-1], np.int32)}),
    "Resize to its sizes": ("Resize(x, , , c)", {"c": i64(1, 2, 3, 4)}),
    "Resize to some sizes": ("Resize <axes = [-1, 2]> (x, , , c)", {"c": i64(4, 3)}),
    "Slice from before the first": ("Slice(x, s, e)", {"s": i64(-9, -2), "e": i64(1, 2)}),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", [*FREE, *SHAPED])
def test_removes(case: str, place: Place) -> None:
    form, constants = {**FREE, **SHAPED}[case]
    body = f"n = {form}\ny = Neg(n)"
    outcome = run(placed(place, body, constants, x=IMAGE), PASS)
    assert outcome.left_out == []
    if place == "function" and case in SHAPED:
        assert outcome.unchanged
        return
    assert piece(outcome.after, place) == ["y = Neg(x)"]
    agree(outcome.before, outcome.after, exact=True)
    identical = graphopt.optimize(placed("main", body, constants, x=IMAGE), "identical")
    assert identical.report.after.nodes == 1


CHANGES: dict[str, tuple[str, dict[str, Array]]] = {
    "Split into two": ("n, m = Split <axis = 1, num_outputs = 2> (x)", {}),
    "Unsqueeze": ("n = Unsqueeze(x, c)", {"c": i64(0)}),
    "Squeeze": ("n = Squeeze(x, c)", {"c": i64(0)}),
    "Squeeze of all": ("n = Squeeze(x)", {}),
    "Squeeze, an empty list": ("n = Squeeze(x, c)", {"c": i64()}),
    "DepthToSpace": ("n = SpaceToDepth <blocksize = 1> (x)\nn2 = Transpose(n)", {}),
    "Concat with one row": ("n = Concat <axis = 3> (x, e)", {"e": np.zeros((1, 2, 3, 1), "f")}),
    "Concat of nothing at all": ("n = Concat <axis = 3> (e, e)", {"e": EMPTY}),
    "Gather in another order": ("n = Gather <axis = 2> (x, c)", {"c": i64(1, 0, 2)}),
    "Gather of less": ("n = Gather <axis = 2> (x, c)", {"c": i64(0, 1)}),
    "Gather of more": ("n = Gather <axis = 1> (x, c)", {"c": i64(0, 1, 0)}),
    "Gather of a matrix": ("n = Gather(x, c)", {"c": i64(0).reshape(1, 1)}),
    "Gather of a number": ("n = Gather(x, c)", {"c": np.array(0)}),
    "Resize": ("n = Resize(x, , c)", {"c": f32(1, 1, 1, 2)}),
    "Resize to other sizes": ("n = Resize(x, , , c)", {"c": i64(1, 2, 4, 3)}),
    "Resize that crops": (
        'n = Resize <coordinate_transformation_mode = "tf_crop_and_resize"> (x, r, c)',
        {"r": f32(0, 0, 0, 0, 1, 1, 0.5, 1), "c": f32(1, 1, 1, 1)},
    ),
    "Einsum that transposes": ('n = Einsum <equation = "abcd->abdc"> (x)', {}),
    "Einsum that sums": ('n = Einsum <equation = "abcd->abc"> (x)', {}),
    "Slice from the last": ("n = Slice(x, s, e, a)", {"s": i64(-2), "e": i64(3), "a": i64(2)}),
}  # fmt: skip


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("case", CHANGES)
def test_what_does_something_stays(case: str, place: Place) -> None:
    form, constants = CHANGES[case]
    body = f"{form}\nk = ReduceSum <keepdims = 0> (n)\ny = Add(x, k)"
    outcome = run(placed(place, body, constants, x=IMAGE), PASS)
    if case == "DepthToSpace":
        assert outcome.rewrites == 1
    else:
        assert outcome.unchanged
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("x", ["float[2,3]", "float[2,1]", "float[N,2]"])
def test_squeeze_of_axes_of_one(x: str) -> None:
    """A length that is open may be 1."""
    outcome = run(placed("main", "n = Squeeze(x)\ny = Neg(n)", x=x, y="float[?,?]"), PASS)
    assert outcome.unchanged == (x != "float[2,3]")


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_interpolation_by_1_is_rounding(mode: str) -> None:
    body = f'n = Resize <mode = "{mode}"> (x, , c)\ny = Neg(n)'
    model = placed("main", body, {"c": f32(1, 1, 1, 1)}, x=IMAGE)
    assert not graphopt.optimize(model, "identical").report.changed
    outcome = run(model, PASS)
    assert outcome.lines == ["y = Neg(x)"]
    agree(model, outcome.after)


MODES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")


@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("mode", MODES)
def test_every_nearest_resize_by_1(mode: str, nearest: str) -> None:
    form = f'<coordinate_transformation_mode = "{mode}", nearest_mode = "{nearest}">'
    for scales in ("x, , c", "x, , , s"):
        body = f"n = Resize {form} ({scales})\ny = Neg(n)"
        constants = {"c": f32(1, 1, 1, 1), "s": i64(1, 2, 3, 4)}
        kept = {name: array for name, array in constants.items() if f" {name})" in f"{body} "}
        outcome = run(placed("main", body, kept, x=IMAGE, opset=19), PASS)
        assert outcome.lines == ["y = Neg(x)"]
        agree(outcome.before, outcome.after, exact=True)


def test_a_half_pixel_of_its_own_is_refused() -> None:
    """By its formula, element i is read at i + 0.5."""
    body = 'n = Resize <coordinate_transformation_mode = "tf_half_pixel_for_nn"> (x, r, c)'
    constants = {"r": f32(), "c": f32(1, 1, 1, 1)}
    outcome = run(placed("main", f"{body}\ny = Neg(n)", constants, x=IMAGE, opset=11), PASS)
    assert outcome.unchanged


LEGACY: dict[str, tuple[int, str, dict[str, Array]]] = {
    "Resize": (10, "Resize(x, c)", {"c": f32(1, 1, 1, 1)}),
    "Resize, roi": (11, "Resize(x, r, c)", {"r": f32(), "c": f32(1, 1, 1, 1)}),
    "Resize, empty scales": (11, "Resize(x, r, r, c)", {"r": f32(), "c": i64(1, 2, 3, 4)}),
    "Upsample, an input": (9, "Upsample(x, c)", {"c": f32(1, 1, 1, 1)}),
    "Upsample, an attribute": (7, "Upsample <scales = [1.0, 1.0, 1.0, 1.0]> (x)", {}),
    "Unsqueeze": (11, "Unsqueeze <axes: ints = []> (x)", {}),
    "Squeeze": (11, "Squeeze(x)", {}),
    "Split": (11, "Split <axis = 1, split = [2]> (x)", {}),
    "Split, equal": (2, "Split <axis = 1> (x)", {}),
    "Slice, negative": (9, "Slice <starts = [-3], ends = [2147483647], axes = [2]> (x)", {}),
}


@pytest.mark.parametrize("case", LEGACY)
def test_older_opsets(case: str) -> None:
    opset, form, constants = LEGACY[case]
    x = "float[2,2,3,4]" if case == "Squeeze" else IMAGE
    body = f"n = {form}\ny = Relu(n)"
    outcome = run(placed("main", body, constants, x=x, opset=opset, ir=8), PASS)
    assert outcome.lines == ["y = Relu(x)"]
    if opset >= 7 and case != "Unsqueeze":
        agree(outcome.before, outcome.after, exact=True)


ENDS = [-(2**63), -(2**31), -9, -4, -3, -1, 0, 1, 2, 3, 4, 9, 2**31 - 1, 2**63 - 1]


@few
@given(st.data(), st.sampled_from(GRAPHS), st.booleans())
def test_a_slice_goes_exactly_where_it_takes_all(
    data: st.DataObject, place: Place, shown: bool
) -> None:
    start, end = data.draw(st.sampled_from(ENDS)), data.draw(st.sampled_from(ENDS))
    size = 3 if shown else None
    source = np.arange(6, dtype=np.float32).reshape(2, 3)
    taken = source[:, start:end]
    constants = {"s": i64(start), "e": i64(end), "a": i64(-1)}
    x = "float[2,3]" if shown else "float[2,N]"
    shape = f"float[2,{taken.shape[1] if shown else 'M'}]"
    model = placed(place, "n = Slice(x, s, e, a)\ny = Neg(n)", constants, x=x, y=shape)
    outcome = run(model, PASS)
    gone = piece(outcome.after, place) == ["y = Neg(x)"]
    if shown:
        assert gone == (taken.shape[1] == size)
    else:
        assert gone == (start in (0, -(2**63), -(2**31)) and end >= 2**31 - 1)
    if place == "main":
        agree(model, outcome.after, [{"x": source}], exact=True)


def test_a_shared_constant_stays_for_its_other_reader() -> None:
    body = "n = Gather <axis = 1> (x, c)\nk = Cast <to = 1> (c)\ny = Mul(n, k)"
    outcome = run(placed("main", body, {"c": i64(0, 1, 2)}), PASS)
    assert outcome.lines == ["k = Cast(c)", "y = Mul(x, k)"]
    agree(outcome.before, outcome.after, exact=True)

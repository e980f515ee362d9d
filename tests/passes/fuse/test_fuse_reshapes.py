"""fuse_reshapes: Reshape, Squeeze, Unsqueeze and Flatten in pairs, and chains of any length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import FunctionProto, ModelProto, helper

from graphopt.passes.fuse.fuse_reshapes import FuseReshapes
from tests.build import few
from tests.passes.fuse.fused import refused
from tests.passes.placed import GRAPHS, Place, piece, placed, scope_of
from tests.passes.support import Array, agree, constants, random_feeds, run, weights

FUSE = FuseReshapes()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
INPUT = "a graph output would become an input or an initializer"


def i64(*values: int) -> Array:
    return np.array(values, np.int64)


def model_of(
    first: str, second: str, x: str, y: str, numbers: tuple[list[int], list[int]],
    *, place: Place = "main", captured: bool = False, opset: int = 18,
) -> ModelProto:  # fmt: skip
    """x -> first -> second -> Neg -> y; `p` and `q` hold what the two read."""
    stored = {name: i64(*n) for name, n in zip("pq", numbers, strict=True)}
    body = f"a = {first}\nb = {second}\ny = Neg(b)"
    return placed(place, body, stored, x=x, y=y, captured=captured, opset=opset)


def made(model: ModelProto, place: Place = "main") -> tuple[str, list[int]]:
    """The operator that is left, and the numbers that it reads."""
    scope = scope_of(model, place)
    (node,) = (n for n in scope.node if n.op_type in ("Reshape", "Squeeze", "Unsqueeze", "Flatten"))
    if len(node.input) < 2:
        return node.op_type, list(helper.get_node_attr_value(node, "axes"))
    known = {**weights(model.graph), **constants(scope)}
    if not isinstance(scope, FunctionProto):
        known |= weights(scope)
    return node.op_type, known[node.input[1]].tolist()


Case = tuple[str, str, list[int], list[int], str, str, str, list[int]]
PAIRS: dict[str, Case] = {
    "copied, then one more": (
        "Reshape(x, p)", "Unsqueeze(a, q)", [0, 8, -1], [1],
        "float[2,8,2,2]", "float[2,1,8,4]", "Reshape", [2, 1, 8, 4],
    ),
    "open dimensions stay copied": (
        "Reshape(x, p)", "Unsqueeze(a, q)", [0, 8, 4], [1],
        "float[N,8,2,2]", "float[N,1,8,4]", "Reshape", [0, 1, 8, 4],
    ),
    "two Unsqueeze": (
        "Unsqueeze(x, p)", "Unsqueeze(a, q)", [0, 2], [0, -1],
        "float[N,M]", "float[1,1,N,1,M,1]", "Unsqueeze", [0, 1, 3, 5],
    ),
    "two Squeeze": (
        "Squeeze(x, p)", "Squeeze(a, q)", [-1], [0],
        "float[1,N,M,1]", "float[N,M]", "Squeeze", [0, 3],
    ),
    "Unsqueeze, then half of it back": (
        "Unsqueeze(x, p)", "Squeeze(a, q)", [0, 1], [0], "float[N,M]", "float[1,N,M]",
        "Unsqueeze", [0],
    ),
    "a one elsewhere": (
        "Squeeze(x, p)", "Unsqueeze(a, q)", [0], [1], "float[1,3,4]", "float[3,1,4]",
        "Reshape", [3, 1, 4],
    ),
    "two Reshape": (
        "Reshape(x, p)", "Reshape(a, q)", [-1], [2, -1], "float[N,4]", "float[2,?]",
        "Reshape", [2, -1],
    ),
    "0 copies what the first made": (
        "Reshape(x, p)", "Reshape(a, q)", [3, -1], [0, 2, -1], "float[2,6]", "float[3,2,2]",
        "Reshape", [3, 2, 2],
    ),
    "the one left open is passed on": (
        "Reshape(x, p)", "Unsqueeze(a, q)", [-1, 3], [2], "float[N,M]", "float[?,3,1]",
        "Reshape", [-1, 3, 1],
    ),
    "the model's own -1 beside a copy": (
        "Reshape(x, p)", "Unsqueeze(a, q)", [0, -1], [2], "float[N,M,K]", "float[N,?,1]",
        "Reshape", [0, -1, 1],
    ),
    "Flatten of all": (
        "Flatten <axis = 0> (x)", "Squeeze(a, q)", [], [0], "float[N,M]", "float[?]",
        "Reshape", [-1],
    ),
    "Flatten, last": (
        "Flatten <axis = 2> (x)", "Squeeze(a, q)", [], [1], "float[N,M]", "float[?]",
        "Reshape", [-1],
    ),
    "Flatten, axis -2": (
        "Flatten <axis = -2> (x)", "Reshape(a, q)", [], [0, 2, -1], "float[N,4]", "float[1,2,?]",
        "Reshape", [1, 2, -1],
    ),
    "Flatten of what is known": (
        "Unsqueeze(x, p)", "Flatten(a)", [1], [], "float[2,3,4]", "float[2,12]",
        "Reshape", [2, 12],
    ),
    "of a number": (
        "Unsqueeze(x, p)", "Unsqueeze(a, q)", [0], [0], "float", "float[1,1]",
        "Unsqueeze", [0, 1],
    ),
    "to a number": (
        "Squeeze(x, p)", "Reshape(a, q)", [0], [], "float[1,1]", "float", "Squeeze", [0, 1],
    ),
    "allowzero without a zero": (
        "Reshape <allowzero = 1> (x, p)", "Unsqueeze(a, q)", [-1, 2], [0], "float[N,M]",
        "float[1,?,2]", "Reshape", [1, -1, 2],
    ),
}  # fmt: skip


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("case", PAIRS)
def test_fuses(case: str, place: Place) -> None:
    first, second, p, q, x, y, op, numbers = PAIRS[case]
    outcome = run(model_of(first, second, x, y, (p, q), place=place), FUSE)
    left = piece(outcome.after, place)
    assert [entry.split("(")[0] for entry in left] == [f"b = {op}", "y = Neg"]
    assert made(outcome.after, place) == (op, numbers)
    assert (outcome.rewrites, outcome.skipped, outcome.left_out) == (1, {}, [])
    sizes = {"M": 6}
    agree(outcome.before, outcome.after,
          [random_feeds(outcome.before, s, sizes) for s in range(2)], exact=True)  # fmt: skip


NONE = {
    "one more, one less": ("Unsqueeze(x, p)", "Squeeze(a, q)", [1], [1], "float[N,M]"),
    "one less, one more": ("Squeeze(x, p)", "Unsqueeze(a, q)", [0], [0], "float[1,N]"),
    "known": ("Unsqueeze(x, p)", "Squeeze(a, q)", [0], [0], "float[2,3]"),
    "partly known": ("Unsqueeze(x, p)", "Squeeze(a, q)", [2], [-1], "float[N,3]"),
    "there and back": ("Reshape(x, p)", "Reshape(a, q)", [-1], [2, 3], "float[2,3]"),
    "of a number": ("Unsqueeze(x, p)", "Squeeze(a, q)", [0], [0], "float"),
}  # fmt: skip


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("case", NONE)
def test_nothing_stays(case: str, place: Place) -> None:
    first, second, p, q, x = NONE[case]
    outcome = run(model_of(first, second, x, x, (p, q), place=place), FUSE)
    assert piece(outcome.after, place) == ["y = Neg(x)"]
    agree(outcome.before, outcome.after, exact=True)


def test_nothing_would_compute_the_output() -> None:
    body = "a = Unsqueeze(x, p)\ny = Squeeze(a, p)"
    refused(placed("main", body, {"p": i64(0)}, x="float[N,M]"), FUSE, INPUT)


@pytest.mark.parametrize("place", GRAPHS)
def test_the_result_is_a_graph_output(place: Place) -> None:
    body = "a = Reshape(x, p)\ny = Unsqueeze(a, q)"
    outcome = run(
        placed(place, body, {"p": i64(-1), "q": i64(0)}, x="float[2,3]", y="float[1,6]"), FUSE
    )
    assert [entry.split("(")[0] for entry in piece(outcome.after, place)] == ["y = Reshape"]
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("place", ["if", "loop"])
def test_the_numbers_are_captured(place: Place) -> None:
    model = model_of("Reshape(x, p)", "Unsqueeze(a, q)", "float[2,3]", "float[1,6]", ([-1], [0]),
                     place=place, captured=True)  # fmt: skip
    outcome = run(model, FUSE)
    assert made(outcome.after, place) == ("Reshape", [1, 6])
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("place", GRAPHS)
def test_axes_as_attributes(place: Place) -> None:
    body = "a = Unsqueeze <axes = [0]> (x)\nb = Unsqueeze <axes = [3]> (a)\n"
    body += "d = Squeeze <axes = [0]> (b)\ny = Relu(d)"
    outcome = run(placed(place, body, x="float[N,M]", y="float[N,M,1]", opset=12), FUSE)
    assert made(outcome.after, place) == ("Unsqueeze", [2])
    assert outcome.rewrites == 2
    agree(outcome.before, outcome.after, exact=True)


def test_ir_version_3() -> None:
    body = "a = Unsqueeze <axes = [0]> (x)\np = Constant <value = int64[2] {-1, 2}> ()\n"
    outcome = run(placed("main", body + "b = Reshape(a, p)\ny = Relu(b)", x="float[4,3]",
                         y="float[6,2]", ir=3, opset=9), FUSE)  # fmt: skip
    assert made(outcome.after) == ("Reshape", [6, 2])
    assert not outcome.after.graph.initializer
    agree(outcome.before, outcome.after, exact=True)


Chain = tuple[str, dict[str, Array], list[str], list[int], int]
"""Nodes, their numbers, x's declared dimensions and real sizes, y's rank."""


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    """Two to five nodes in a row."""
    sizes = draw(st.lists(st.sampled_from([0, 1, 1, 2, 3]), min_size=1, max_size=4))
    dims = [str(size) if draw(st.booleans()) else f"D{i}" for i, size in enumerate(sizes)]
    stored: dict[str, Array] = {}
    nodes, shape = [], list(sizes)
    for number in range(draw(st.integers(2, 5))):
        op = draw(st.sampled_from(["Reshape", "Reshape", "Squeeze", "Unsqueeze", "Flatten"]))
        before = f"v{number - 1}" if number else "x"
        ones = [axis for axis, size in enumerate(shape) if size == 1]
        if op == "Flatten":
            axis = draw(st.integers(0, len(shape)))
            nodes.append(f"v{number} = Flatten <axis = {axis}> ({before})")
            shape = [int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))]
            continue
        if op == "Unsqueeze" or (op == "Squeeze" and not ones):
            rank = len(shape) + 1
            op, given_axis = "Unsqueeze", draw(st.integers(-rank, rank - 1))
            shape.insert(given_axis % rank, 1)
            numbers = [given_axis]
        elif op == "Squeeze":
            given_axis = draw(st.sampled_from(ones))
            numbers = [given_axis - draw(st.sampled_from([0, len(shape)]))]
            del shape[given_axis]
        else:
            shape, numbers = draw(targets(shape))
        stored[f"k{number}"] = i64(*numbers)
        nodes.append(f"v{number} = {op}({before}, k{number})")
    return "\n".join([*nodes, f"y = Neg(v{len(nodes) - 1})"]), stored, dims, sizes, len(shape)


@st.composite
def targets(draw: st.DrawFn, shape: list[int]) -> tuple[list[int], list[int]]:
    """A shape of as many elements, and how Reshape's target may state it."""
    candidates = [shape, [int(np.prod(shape))], [1, *shape], shape[::-1], [*shape, 1]]
    # 0 is no number there: it copies the dimension that stands at its place.
    can = [c for c in candidates if all(n or shape[i : i + 1] == [0] for i, n in enumerate(c))]
    made_of = draw(st.sampled_from(can))
    copied = [shape[i : i + 1] == [n] and draw(st.booleans()) for i, n in enumerate(made_of)]
    entries = [0 if copy else size for copy, size in zip(copied, made_of, strict=True)]
    if made_of and 0 not in made_of and draw(st.booleans()):
        entries[draw(st.integers(0, len(made_of) - 1))] = -1
    return list(made_of), entries


@few
@given(chains(), st.sampled_from([13, 18, 21]))
def test_any_chain(case: Chain, opset: int) -> None:
    """Also where a dimension is 0: what worked goes on working."""
    body, stored, dims, sizes, rank = case
    x, y = f"float[{','.join(dims)}]", f"float[{','.join('?' * rank)}]"
    model = placed("main", body, stored, x=x, y=y if rank else "float", opset=opset)
    feed = {"x": np.random.default_rng(3).standard_normal(sizes).astype(np.float32)}
    outcome = run(model, FUSE)
    assert outcome.left_out == []
    agree(outcome.before, outcome.after, [feed], exact=True)

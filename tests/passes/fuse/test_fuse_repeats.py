"""fuse_repeats: Unsqueeze, Expand and Reshape that repeat slices become one Gather."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.contract import Effect
from graphopt.passes.fuse.fuse_repeats import FuseRepeats
from tests.build import few, parse
from tests.passes.placed import GRAPHS, Place, piece, placed
from tests.passes.support import Array, Outcome, agree, random_feeds, run

REPEATS = FuseRepeats()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
WORLDS = [{"N": 2, "S": 3}, {"N": 1, "S": 1}, {"N": 3, "S": 5}]
X = "float[N,2,S,3] x"


def i64(*values: int) -> Array:
    return np.array(values, np.int64)


def fused(
    graph: str | ModelProto, worlds: Sequence[Mapping[str, int]] = WORLDS, **constants: Any
) -> Outcome:
    """Run the pass; the answers must stay the same, bit by bit, for every choice of sizes."""
    model = parse(HEAD + graph, **constants) if isinstance(graph, str) else graph
    outcome = run(model, REPEATS)
    assert outcome.left_out == []
    feeds = [random_feeds(model, seed, sizes) for seed, sizes in enumerate(worlds)]
    agree(outcome.before, outcome.after, feeds, exact=True)
    return outcome


def indices(outcome: Outcome) -> list[int]:
    (found,) = (array for name, array in outcome.weights.items() if name.startswith("y_indices"))
    return [int(index) for index in found]


def test_effect() -> None:
    assert REPEATS.effect is Effect.IDENTICAL


@pytest.mark.parametrize(
    ("axis", "repeats", "expected"),
    [(2, (1, 1, 4, 1, 1), [0, 0, 0, 0, 1, 1, 1, 1]), (1, (1, 4, 1, 1, 1), [0, 1] * 4)],
)
@pytest.mark.parametrize("operator", ["Expand", "Tile"])
@pytest.mark.parametrize("add", ["Unsqueeze(x, axis)", "Reshape(x, wide)"])
def test_repeated_heads(
    operator: str, axis: int, repeats: tuple[int, ...], expected: list[int], add: str
) -> None:
    wide = [0, 2, -1, 3]
    wide.insert(axis, 1)
    if "Reshape" in add:
        wide[wide.index(0)] = 2  # 0 copies; N is 2 in each of these worlds
        wide = [2, *wide[1:]]
    shape = X.replace("N", "2") if "Reshape" in add else X
    size = "2" if "Reshape" in add else "N"
    outcome = fused(
        f"g ({shape}) => (float[{size},8,S,3] y) {{"
        f" u = {add} e = {operator}(u, repeats) s = Shape(x) n = Slice(s, a0, a1)"
        " d = Slice(s, a2, a4) t = Concat <axis = 0> (n, eight, d) y = Reshape(e, t) }",
        axis=i64(axis), wide=i64(*wide), repeats=i64(*repeats), a0=i64(0), a1=i64(1),
        a2=i64(2), a4=i64(4), eight=i64(8),
    )  # fmt: skip
    assert outcome.lines[-1].startswith("y = Gather(x, ")
    assert not any("= Expand" in line or "= Tile" in line for line in outcome.lines)
    assert indices(outcome) == expected


def test_the_first_of_three_read_elsewhere() -> None:
    outcome = fused(
        f"g ({X}) => (float[N,4,S,3] y, float[N,2,1,S,3] z) {{ u = Unsqueeze(x, axis)"
        " e = Expand(u, repeats) y = Reshape(e, target) z = Neg(u) }",
        axis=i64(2), repeats=i64(1, 1, 2, 1, 1), target=i64(0, 4, -1, 3),
    )  # fmt: skip
    assert [line.split(" = ")[1].split("(")[0] for line in outcome.lines] == [
        "Unsqueeze", "Gather", "Neg",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ("u = Unsqueeze(x, two) e = Expand(u, twice) y = Reshape(e, other)", "float[N,2,?,3] y"),
        ("u = Unsqueeze(x, two) e = Expand(u, twice) y = Reshape(e, flat)", "float[?,3] y"),
        (
            "u = Unsqueeze(x, two) e = Expand(u, twice) y = Reshape(e, four) z = Neg(e)",
            "float[N,4,S,3] y, float[N,2,2,S,3] z",
        ),
        (
            "u = Unsqueeze(x, two) e = Expand(u, twice) y = Reshape(e, four)",
            "float[N,4,S,3] y, float[N,2,2,S,3] e",
        ),
        ("u = Unsqueeze(x, two) m = Neg(u) e = Expand(m, twice) y = Reshape(e, four)",
         "float[N,4,S,3] y"),
        ("u = Unsqueeze(x, three) e = Expand(u, third) y = Reshape(e, slow)", "float[N,2,?,3] y"),
    ],
)  # fmt: skip
def test_refusals(nodes: str, outputs: str) -> None:
    """Joined with another axis; two axes; other readers; an axis whose size is not known."""
    outcome = fused(
        f"g ({X}) => ({outputs}) {{ {nodes} }}",
        two=i64(2), three=i64(3), twice=i64(1, 1, 2, 1, 1), third=i64(1, 1, 1, 2, 1),
        four=i64(0, 4, -1, 3), other=i64(0, 2, -1, 3), slow=i64(0, 2, -1, 3), flat=i64(-1, 3),
    )  # fmt: skip
    assert outcome.unchanged


def test_two_axes_repeated() -> None:
    outcome = fused(
        "g (float[1,2,3] x) => (float[2,4,3] y) {"
        " u = Unsqueeze(x, two) e = Expand(u, both) y = Reshape(e, joined) }",
        two=i64(2), both=i64(2, 2, 2, 3), joined=i64(2, 4, 3),
    )  # fmt: skip
    assert outcome.unchanged


def test_in_opset_9_and_ir_version_3() -> None:
    head = '<ir_version: 3, opset_import: ["" : 9]>'
    graph = (
        "g (float[N,3] x) => (float[N,6] y) { k = Constant <value = int64[3] {1, 1, 2}> ()"
        " t = Constant <value = int64[2] {0, 6}> () u = Unsqueeze <axes = [2]> (x)"
        " e = Expand(u, k) y = Reshape(e, t) }"
    )
    model = parse(head + graph)
    outcome = run(model, REPEATS)
    assert outcome.lines[-1].startswith("y = Gather(x, ")
    agree(outcome.before, outcome.after, [random_feeds(model, 0, {"N": 4})], exact=True)


def test_a_repetition_of_unknown_length() -> None:
    model = parse(
        HEAD + f"g ({X}, int64[5] k) => (float[?,?,?,?] y) {{ u = Unsqueeze(x, two)"
        " e = Expand(u, k) y = Reshape(e, four) }",
        two=i64(2), four=i64(0, 4, -1, 3),
    )  # fmt: skip
    assert run(model, REPEATS).unchanged


BODY = "u = Unsqueeze(x, one)\ne = Expand(u, twice)\nr = Reshape(e, joined)\ny = Neg(r)"
CONSTANTS = {"one": i64(1), "twice": i64(1, 3, 1), "joined": i64(6, 3)}


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("captured", [False, True])
def test_in_a_body(place: Place, *, captured: bool) -> None:
    model = placed(place, BODY, CONSTANTS, y="float[6,3]", captured=captured)
    outcome = run(model, REPEATS)
    assert outcome.left_out == []
    agree(outcome.before, outcome.after, exact=True)
    if place != "loop":
        assert len(piece(outcome.after, place)) == 2


def test_in_a_function_nothing_is_known() -> None:
    assert run(placed("function", BODY, CONSTANTS, y="float[6,3]"), REPEATS).unchanged


@few
@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(1, 3),
    st.integers(0, 3),
)
def test_random_repetitions(shape: list[int], new: int, many: int, times: int, joined: int) -> None:
    """Any axis is added, any is repeated, any two are joined."""
    rank = len(shape)
    new, many, joined = new % (rank + 1), many % (rank + 1), joined % rank
    wide = [*shape[:new], 1, *shape[new:]]
    repeats = [times if k == many else 1 for k in range(rank + 1)]
    tiled = [a * b for a, b in zip(wide, repeats, strict=True)]
    target = [*tiled[:joined], tiled[joined] * tiled[joined + 1], *tiled[joined + 2 :]]
    sizes = ",".join(map(str, shape))
    outcome = fused(
        f"g (float[{sizes}] x) => (float[{','.join(map(str, target))}] y) {{"
        " u = Unsqueeze(x, new) e = Tile(u, repeats) y = Reshape(e, target) }",
        new=i64(new), repeats=i64(*repeats), target=i64(*target),
    )  # fmt: skip
    if many == new and times > 1 and joined in (new - 1, new):
        assert len(outcome.lines) == 1

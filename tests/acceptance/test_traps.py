"""Where simplifiers go wrong, each as a test on recipe `exact`: BASELINES' list, trap by trap.

Verification is off, so that a wrong rewrite shows instead of being taken back. Each test looks at
the answers and at what is left of the graph.
"""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

from tests.acceptance.trapped import FLOAT, exact, i64, model, names, normal, ops, same
from tests.passes.support import Array, answers, lines, weights

RANDOM = ("RandomNormal <shape = [3]> ()", "RandomUniform <shape = [3]> ()", "RandomNormalLike(k)")


@pytest.mark.parametrize("node", RANDOM)
def test_two_random_nodes_are_not_merged_into_one(node: str) -> None:
    before = model(
        f"g (float[3] x) => (float[3] y) {{ a = {node} b = {node} d = Sub(a, b) y = Add(x, d) }}",
        k=np.ones(3, FLOAT),
    )
    after = exact(before)
    assert ops(after) == ops(before)
    (found,) = answers(after, {"x": np.zeros(3, FLOAT)}, reference=False)
    assert np.abs(found).min() > 0


@pytest.mark.parametrize(
    "node", [*RANDOM, "Bernoulli(h)", "Multinomial <sample_size = 3> (l)", "Dropout(k, h, t)"]
)
def test_a_random_node_is_not_folded(node: str) -> None:
    before = model(
        f"g (float[3] x) => (float[?] y) {{ a = {node} b = Cast <to = 1> (a) y = Mul(b, b) }}",
        k=np.ones(3, FLOAT), h=np.array(0.5, FLOAT), l=np.zeros((1, 9), FLOAT), t=np.array(True),
    )  # fmt: skip
    after = exact(before)
    kind = node.split()[0].split("(")[0]
    assert ops(after)[kind] == 1
    assert "y" not in weights(after.graph)
    (found,) = answers(after, {"x": np.zeros(3, FLOAT)}, reference=False)
    (expected,) = answers(before, {"x": np.zeros(3, FLOAT)}, reference=False)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)


@pytest.mark.parametrize(
    "read", ["y = Relu(x)", "s = Shape(u) f = Cast <to = 1> (s) y = Add(x, f)"]
)
def test_an_unused_graph_input_is_kept(read: str) -> None:
    """Also one that only became unused: its size was all that was read."""
    before = model(f"g (float[1] x, float[3] u) => (float[1] y) {{ {read} }}")
    after = exact(before)
    assert names(after.graph.input) == ["x", "u"]
    assert ops(after).total() == 1
    same(before, after, {"x": normal(1), "u": normal(3)})


def test_an_initializer_that_is_also_an_input_is_not_folded() -> None:
    body = "a = Add(k, k) c = Conv(x, w) n = Mul(c, k) m = Add(n, a) y = Sub(m, z)"
    before = model(
        "g (float[1,2,4,4] x, float[2,1,1] k, float[2,2,1,1] w) => (float[1,2,4,4] y)"
        f" {{ {body} }}",
        k=normal(2, 1, 1), w=normal(2, 2, 1, 1, seed=1), z=np.ones(1, FLOAT),
    )  # fmt: skip
    after = exact(before)
    assert {"k", "w"} <= weights(after.graph).keys()
    assert ops(after)["Mul"] == 1 and ops(after)["Add"] == 2
    x = normal(1, 2, 4, 4, seed=2)
    same(before, after, {"x": x}, {"x": x, "k": normal(2, 1, 1, seed=3)})
    same(before, after, {"x": x, "w": normal(2, 2, 1, 1, seed=4)})


@pytest.mark.parametrize("op", ["Mul", "Add", "Div", "Sub"])
@pytest.mark.parametrize("shape", [(4,), (1, 4), (4, 1), (2, 1, 1, 1), (4, 4, 4)])
def test_a_factor_on_another_axis_does_not_go_into_a_conv(op: str, shape: tuple[int, ...]) -> None:
    """All sizes are 4: only the axis tells a channel's factor from a column's."""
    k = np.arange(1, 1 + np.prod(shape), dtype=FLOAT).reshape(shape)
    before = model(
        f"g (float[2,4,4,4] x) => (float[2,4,4,4] y) {{ c = Conv(x, w) y = {op}(c, k) }}",
        w=normal(4, 4, 1, 1), k=k,
    )  # fmt: skip
    after = exact(before)
    assert ops(after).total() == 2
    same(before, after, {"x": normal(2, 4, 4, 4, seed=1)})


def test_a_factor_on_the_channels_does() -> None:
    before = model(
        "g (float[2,4,4,4] x) => (float[2,4,4,4] y) { c = Conv(x, w) y = Mul(c, k) }",
        w=normal(4, 4, 1, 1), k=normal(4, 1, 1, seed=5),
    )  # fmt: skip
    after = exact(before)
    assert ops(after) == {"Conv": 1}
    same(before, after, {"x": normal(2, 4, 4, 4, seed=1)})


@pytest.mark.parametrize("axes", [(2, 3), (3, 2), (-1, -2), (3,), (1,), (0, 3)])
def test_a_pad_with_axes_goes_into_a_conv_by_its_axes_or_not_at_all(axes: tuple[int, ...]) -> None:
    amounts = i64(*range(1, 1 + 2 * len(axes)))
    before = model(
        "g (float[1,2,5,5] x) => (float[?,?,?,?] y) { h = Pad(x, p, , a) y = Conv(h, w) }",
        p=amounts, a=i64(*axes), w=normal(3, 2 if 1 not in axes else 5, 2, 2),
    )  # fmt: skip
    after = exact(before)
    beside = 1 in axes or 0 in axes
    assert ops(after)["Pad"] == beside and ops(after)["Conv"] == 1
    same(before, after, {"x": normal(1, 2, 5, 5, seed=1)})


@pytest.mark.parametrize("value", ["", ", zero"])
def test_a_zero_pad_does_not_go_into_a_max_pool(value: str) -> None:
    """An input that is negative everywhere shows it."""
    before = model(
        "g (float[1,2,4,4] x) => (float[?,?,?,?] y) {"
        f" h = Pad(x, p{value}) y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (h) }}",
        p=i64(0, 0, 1, 1, 0, 0, 1, 1), zero=np.array(0, FLOAT),
    )  # fmt: skip
    after = exact(before)
    assert ops(after) == {"Pad": 1, "MaxPool": 1}
    same(before, after, {"x": -1 - np.abs(normal(1, 2, 4, 4))})


@pytest.mark.parametrize(
    "first, second",
    [([4, 6], [0, 3, 2]), ([0, 3, 4], [0, 0, -1]), ([4, -1], [0, 2, -1]), ([-1], [0])],
)
def test_reshape_behind_reshape_with_a_zero(first: list[int], second: list[int]) -> None:
    """A zero stands for a size of what lies between the two, not of what comes in."""
    before = model(
        "g (float[N,12] x) => (float[...] y) { a = Reshape(x, p) y = Reshape(a, q) }".replace(
            "[...]", f"[{','.join('?' * len(second))}]"
        ),
        p=i64(*first), q=i64(*second),
    )  # fmt: skip
    after = exact(before)
    assert ops(after).keys() == {"Reshape"}
    same(before, after, {"x": normal(2, 12)}, {"x": normal(2, 12, seed=1)})


@pytest.mark.parametrize("declared", ["<float[1,4] r>", "<float[2,4] r>", "<float[N,3] r>"])
def test_a_wrong_value_info_is_not_trusted(declared: str) -> None:
    nodes = "r = Relu(x) s = Shape(r) c = Cast <to = 1> (s) m = ReduceSum(r, a) y = Add(m, c)"
    before = model(f"g (float[N,4] x) => (float[2] y) {declared} {{ {nodes} }}", a=i64(0, 1))
    del before.graph.output[0].type.tensor_type.shape.dim[:]
    before.graph.output[0].type.tensor_type.shape.dim.add()
    after = exact(before)
    assert "Shape" in ops(after)
    for proto in (before, after):
        del proto.graph.value_info[:]  # nothing wrong may stand in the way of comparing
        del proto.graph.output[0].type.tensor_type.shape.dim[:]
        proto.graph.output[0].type.tensor_type.shape.dim.add()
        proto.graph.output[0].type.tensor_type.shape.dim.add()
    same(before, after, {"x": normal(1, 4)}, {"x": normal(3, 4)})


def test_a_wrong_declared_output_shape_is_not_trusted() -> None:
    before = model(
        "g (float[N,4] x) => (float[1,4] r, int64[2] y) { r = Relu(x) s = Shape(r) y = Neg(s) }"
    )
    after = exact(before)
    assert ops(after) == {"Relu": 1, "Shape": 1, "Neg": 1}
    for proto in (before, after):
        proto.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "N"
    same(before, after, {"x": normal(1, 4)}, {"x": normal(3, 4)})


ZEROS = [
    "a = Reshape(x, p) b = Reshape(a, q) y = Relu(b)",
    "e = Slice(x, o, o, o) a = Squeeze(e, o) y = Relu(x)",
    "e = Slice(x, o, o, o) s = Shape(e) a = Reshape(e, s) d = Concat <axis = 0> (x, a) y = Relu(d)",
    "e = Slice(x, o, o, o) a = Flatten(e) b = Unsqueeze(a, o) s = Squeeze(b, o)"
    " d = Concat <axis = 0> (x, s) y = Relu(d)",
]


@pytest.mark.parametrize("nodes", ZEROS)
@pytest.mark.parametrize("opset", [11, 13, 14])
def test_allowzero_stays_away_from_opsets_that_lack_it(nodes: str, opset: int) -> None:
    if opset < 13:
        nodes = nodes.replace("Unsqueeze(a, o)", "Unsqueeze <axes = [0]> (a)")
        nodes = nodes.replace("Squeeze(b, o)", "Squeeze <axes = [0]> (b)")
    if "Squeeze(e, o)" in nodes:
        nodes = nodes.replace("a = Squeeze(e, o)", "a = Relu(e)")
    before = model(
        f"g (float[N,6] x) => (float[?,?] y) {{ {nodes} }}", opset,
        p=i64(0, 2, 3), q=i64(0, -1), o=i64(0),
    )  # fmt: skip
    after = exact(before)
    told = {a.name for node in after.graph.node for a in node.attribute}
    assert "allowzero" not in told or opset >= 14
    assert ops(after).total() < ops(before).total()
    same(before, after, {"x": normal(2, 6)}, {"x": normal(1, 6)})


def test_neither_batch_nor_length_is_baked_in() -> None:
    """What exporters write for x.view(batch, length, 2, -1).transpose(1, 2)."""
    nodes = (
        "s = Shape(x) n = Gather(s, i0) l = Gather(s, i1) n1 = Unsqueeze(n, o) l1 = Unsqueeze(l, o)"
        " t = Concat <axis = 0> (n1, l1, two, minus) r = Reshape(x, t)"
        " p = Transpose <perm = [0, 2, 1, 3]> (r) y = Relu(p)"
    )
    before = model(
        f"g (float[N,L,6] x) => (float[N,2,L,3] y) {{ {nodes} }}", i0=np.array(0, np.int64),
        i1=np.array(1, np.int64), o=i64(0), two=i64(2), minus=i64(-1),
    )  # fmt: skip
    after = exact(before)
    assert ops(after) == {"Reshape": 1, "Transpose": 1, "Relu": 1}
    assert [d.dim_param for d in after.graph.input[0].type.tensor_type.shape.dim][:2] == ["N", "L"]
    same(before, after, *({"x": normal(n, size, 6)} for n, size in ((1, 4), (3, 2), (2, 1))))


def norm(count: int) -> dict[str, Array]:
    return {
        "scale": normal(count, seed=1), "shift": normal(count, seed=2),
        "mean": normal(count, seed=3), "var": np.abs(normal(count, seed=4)) + 1,
    }  # fmt: skip


def test_batchnorm_parameters_are_not_left_as_arithmetic() -> None:
    """Behind CastLike and Expand, as raw exports have them; where it cannot fuse it stays whole."""
    nodes = (
        "v = CastLike(var, x) m = Expand(mean, three) k = CastLike(scale, x) c = Conv(x, w)"
        " n = BatchNormalization(c, k, shift, m, v) r = Relu(n)"
        " y = BatchNormalization(r, k, shift, m, v)"
    )
    before = model(
        f"g (float[N,2,4,4] x) => (float[N,3,4,4] y) {{ {nodes} }}", three=i64(3),
        w=normal(3, 2, 1, 1), **norm(3),
    )  # fmt: skip
    after = exact(before)
    assert ops(after) == {"Conv": 1, "Relu": 1, "BatchNormalization": 1}
    same(before, after, {"x": normal(2, 2, 4, 4)})


def test_new_names_do_not_clash_with_the_users() -> None:
    """The user's tensors bear the very names that the recipe gave its own."""
    nodes = "a = Add(k, one) c = Conv(x, w, a) n = BatchNormalization(c, scale, shift, mean, var)"
    text = (
        f"g (float[N,2,4,4] x) => (float[N,3,4,4] y, float[?] u, float[?] v) {{ {nodes}"
        " y = Relu(n) u = Identity(p0) v = Neg(p1) }"
    )
    arrays = {"k": normal(3), "one": np.ones(1, FLOAT), "w": normal(3, 2, 1, 1), **norm(3)}
    mine = {"p0": normal(3, seed=8), "p1": normal(3, seed=9)}
    first = exact(model(text, **arrays, **mine))
    new = sorted(weights(first.graph).keys() - arrays.keys() - mine.keys())
    assert new
    for taken in new:
        before = model(text.replace("p0", taken), **arrays, **{taken: mine["p0"], "p1": mine["p1"]})
        after = exact(before)
        assert ops(after)["Conv"] == 1 and ops(after)["BatchNormalization"] == 0
        same(before, after, {"x": normal(2, 2, 4, 4)})


BRANCH = """g (float[3] x, bool c) => (float[3] y) {{
  y = If (c) <then_branch = t () => (float[3] a) {{ {nodes} }},
    else_branch = e () => (float[3] b) {{ b = Relu(x) }}>
}}"""
"""What must not be run lies in a branch that is not taken."""


def untaken(nodes: str, **initializers: Array) -> tuple[ModelProto, ModelProto]:
    before = model(BRANCH.format(nodes=nodes), **initializers)
    after = exact(before)
    same(before, after, {"x": normal(3), "c": np.array(False)})
    return before, after


@pytest.mark.parametrize("op", ["Div", "Mod"])
def test_the_lowest_integer_over_minus_one_is_not_folded(op: str) -> None:
    """It would kill the process that evaluates it."""
    _, after = untaken(
        f"d = {op}(low, minus) f = Cast <to = 1> (d) a = Add(x, f)",
        low=i64(np.iinfo(np.int64).min), minus=i64(-1),
    )  # fmt: skip
    # The remainder is 0 for whoever computes it by hand; the quotient is no number of the type.
    assert op == "Mod" or any("Div(low, minus)" in line for line in lines(after.graph))


@pytest.mark.parametrize(
    "node", ["Expand(one, large)", "ConstantOfShape(large)", "Tile(one, large)"]
)
def test_a_constant_of_1600_megabytes_is_not_stored(node: str) -> None:
    before, after = untaken(
        f"h = {node} s = ReduceSum(h, axes) a = Add(x, s)",
        one=np.ones((1, 1), FLOAT), large=i64(20000, 20000), axes=i64(0, 1),
    )  # fmt: skip
    assert after.ByteSize() <= before.ByteSize() + 64
    assert any(node.split("(")[0] in line for line in lines(after.graph))


def test_an_endless_constant_loop_is_left_alone() -> None:
    _, after = untaken(
        "l = Loop(, yes, one) <body = b (int64 i, bool g, float s) => (bool h, float r)"
        " { h = Identity(g) r = Add(s, one) }> a = Add(x, l)",
        yes=np.array(True), one=np.array(1, FLOAT),
    )  # fmt: skip
    assert any("Loop(" in line for line in lines(after.graph))

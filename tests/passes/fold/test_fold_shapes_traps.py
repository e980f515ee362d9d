"""fold_shapes: what files say wrongly, names that mislead, old opsets, broken nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from graphopt.passes.fold.fold_shapes import FoldShapes
from tests.build import parse
from tests.passes.support import Array, Outcome, agree, answers, bodies, lines, random_feeds, run

FOLD = FoldShapes()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'


def i64(*values: Any) -> Array:
    return np.array(values, np.int64)


def checked(model: ModelProto, *worlds: dict[str, int]) -> Outcome:
    """Run the pass and compare the answers, bit by bit."""
    outcome = run(model, FOLD)
    assert outcome.left_out == []
    feeds = [random_feeds(model, seed, sizes) for seed, sizes in enumerate(worlds)]
    agree(outcome.before, outcome.after, feeds, exact=True)
    return outcome


def test_one_name_on_two_inputs_is_one_size() -> None:
    """ONNX promises it, and ONNX Runtime's own optimiser trusts it too."""
    outcome = checked(
        parse(
            HEAD + "g (float[N,4] x, float[2,N] v) => (int64[1] y) {"
            "a = Shape <end = 1> (x) b = Shape <start = 1> (v) y = Sub(a, b) }"
        ),
        {"N": 3},
    )
    assert outcome.lines[-1] == "y = Sub(a, a)"


@pytest.mark.parametrize("first", ["N", "?"])
def test_two_names_or_none_are_two_sizes(first: str) -> None:
    outcome = run(
        parse(
            HEAD + f"g (float[{first}] x, float[?] v) => (int64[1] y) {{"
            "a = Shape(x) b = Shape(v) y = Sub(a, b) }"
        ),
        FOLD,
    )
    assert outcome.unchanged


def test_a_negative_size_in_a_file_is_an_open_one() -> None:
    nodes = "s = Shape(x) t = Add(s, s) y = Neg(t)"
    model = parse(HEAD + f"g (float[7,7] x) => (int64[?] y) {{ {nodes} }}")
    for dim in model.graph.input[0].type.tensor_type.shape.dim:
        dim.dim_value = -1
    assert run(model, FOLD).unchanged


STALE = [
    "r = Identity(x)",
    "s0 = Shape(x) d = Div(s0, one) r = Reshape(x, d)",
    "s0 = Shape(x) e = Div(four, two) d = Slice(s0, zero, e) r = Reshape(x, d)",
    "e = Div(four, two) s0 = Shape(x) z = Slice(s0, zero, e) o = ConstantOfShape(z) r = Add(o, x)",
    "e = Div(four, two) s0 = Shape(x) z = Slice(s0, zero, e) r = Expand(x, z)",
]


@pytest.mark.parametrize("nodes", STALE)
@pytest.mark.parametrize("where", ["value_info", "output"])
def test_a_stale_shape_beside_an_input_that_was_opened(nodes: str, where: str) -> None:
    """Somebody gave the input an open batch and left the shapes behind it at 1."""
    outputs, infos = "", "<float[1,4] r>"
    if where == "output":
        outputs, infos = ", float[1,4] r", ""
    nodes += " s = Shape(r) y = Neg(s)"
    text = f"g (float[N,4] x) => (int64[2] y{outputs}) {infos} {{ {nodes} }}"
    model = parse(HEAD + text, one=i64(1, 1), zero=i64(0), four=i64(4), two=i64(2))
    outcome = run(model, FOLD)
    feeds = [random_feeds(model, 0, {"N": n}) for n in (1, 3)]
    # Nothing wrong may stand in the way of comparing.
    after = ModelProto.FromString(outcome.after.SerializeToString())
    for proto in (model, after):
        del proto.graph.value_info[:]
        del proto.graph.output[1:]
    agree(model, after, feeds, exact=True)


def test_a_stale_shape_beside_an_input_of_another_size() -> None:
    """The batch was 1 and is 3 now; what a rule computes is not what the file still says."""
    nodes = "e = Div(four, two) s0 = Shape(x) z = Slice(s0, zero, e) r = Reshape(x, z) s = Shape(r)"
    text = f"g (float[3,4] x) => (int64[2] y) <float[1,4] r> {{ {nodes} y = Neg(s) }}"
    model = parse(HEAD + text, zero=i64(0), four=i64(4), two=i64(2))
    outcome = run(model, FOLD)
    after = ModelProto.FromString(outcome.after.SerializeToString())
    for proto in (model, after):
        del proto.graph.value_info[:]
    agree(model, after, exact=True)


def test_a_target_that_comes_out_as_minus_one() -> None:
    """N - 5 is -1 where N is 4: then it stands for what is left, and is no size."""
    model = parse(
        HEAD + "g (float[M,4] x, float[N] v) => (int64[2] y, int64[1] z) {"
        "n = Shape(v) d = Sub(n, k) t = Concat <axis = 0> (d, four) r = Reshape(x, t)"
        " q = Shape(r) y = Neg(q) p = Gather(q, zero) z = Abs(p) w = Neg(d) u = Abs(w) }",
        k=i64(5), four=i64(4), zero=i64(0),
    )  # fmt: skip
    checked(model, {"M": 3, "N": 8}, {"M": 3, "N": 4}, {"M": 3, "N": 5})


def test_a_stale_symbol_is_no_promise() -> None:
    """A file calls the size of every inner value N, though two of them differ."""
    model = parse(
        HEAD + "g (float[N] x) => (int64[1] y) <float[N] r, float[N] q> {"
        "r = Concat <axis = 0> (x, x) p = NonZero(r) q = Squeeze(p, k)"
        "a = Shape(r) b = Shape(x) c = Shape(q) d = Sub(a, b) y = Sub(d, c) }",
        k=i64(0),
    )
    del model.graph.value_info[1:]
    outcome = run(model, FOLD)
    del model.graph.value_info[:]
    agree(outcome.before, outcome.after, [random_feeds(model, 0, {"N": 3})], exact=True)
    assert outcome.lines[-2:] == ["d = Sub(a, b)", "y = Sub(b, c)"]


@pytest.mark.parametrize("dims", ["[1]", "[N]"])
def test_a_body_that_declares_its_first_turn(dims: str) -> None:
    """The shape that a Loop's body states of what it carries holds for no other turn."""
    model = parse(
        HEAD
        + f"""g (float[1] x) => (int64[?,1] y) {{
            turns = Constant <value_int = 3> ()
            yes = Constant <value = bool {{1}}> ()
            fin, all = Loop(turns, yes, x) <
                body = b (int64 i, bool on, float{dims} v) => (bool o, float[?] w, int64[1] one) {{
                    o = Identity(on)
                    w = Concat <axis = 0> (v, v)
                    s = Shape(v)
                    t = Shape(w)
                    one = Sub(t, s)
                }}
            >
            y = Neg(all) }}"""
    )
    outcome = run(model, FOLD)
    agree(outcome.before, outcome.after, exact=True)
    assert "one = Shape(v)" in lines(bodies(outcome.after.graph)["fin.body"])


def named(text: str, index: int, name: str, **constants: Array) -> ModelProto:
    """A model one of whose inputs calls its only dimension by an odd name."""
    model = parse(HEAD + text, **constants)
    model.graph.input[index].type.tensor_type.shape.dim[0].dim_param = name
    return model


@pytest.mark.parametrize("odd", ["h[1]", "h[1]'", "'h[1]'"])
def test_a_size_that_is_called_like_a_dimension_of_a_value(odd: str) -> None:
    model = named(
        "g (float[N] x, float[M] v) => (int64[1] y) {"
        "h = NonZero(x) a = Shape <start = 1> (h) b = Shape(v) y = Sub(a, b) }",
        1, odd,
    )  # fmt: skip
    checked(model, {"N": 5, odd: 2}, {"N": 3, odd: 4})


@pytest.mark.parametrize("odd", ["A'+1*'B", "A'*'B", "(1*'A'+1*'B')//(2)", "2"])
def test_a_size_that_is_called_like_arithmetic(odd: str) -> None:
    model = named(
        "g (float[A] x, float[B] v, float[M] w) => (int64[?] y) {"
        "a = Shape(x) b = Shape(v) c = Shape(w) s = Add(a, b) m = Mul(a, b)"
        "h = Div(s, k) i = Div(m, k) j = Div(c, k) y = Concat <axis = 0> (h, i, j, c) }",
        2, odd, k=i64(2),
    )  # fmt: skip
    checked(model, {"A": 5, "B": 3, odd: 1}, {"A": 2, "B": 4, odd: 7})


@pytest.mark.parametrize("empty", ["C", "N", "M"])
def test_an_empty_tensor_that_swaps_its_sizes(empty: str) -> None:
    """A size of 0 in a target copies, and another size than the target's comes out.

    With one size of 0 ONNX refuses that. Two at once are left aside: x[C,0,0] becomes [C,C,0].
    """
    model = parse(
        HEAD + "g (float[C,N,M] x) => (int64[3] y, int64[3] z) {"
        "s = Shape(x) t = Gather(s, p) r = Reshape(x, t) q = Shape(r) y = Neg(q) z = Neg(t) }",
        p=i64(1, 0, 2),
    )
    outcome = checked(model, {"C": 3, "N": 2, "M": 4})
    feeds = random_feeds(model, 0, {"C": 3, "N": 2, "M": 4, empty: 0})
    if empty == "M":
        agree(outcome.before, outcome.after, [feeds], exact=True)
    else:
        with pytest.raises(Exception, match="Reshape"):
            answers(outcome.before, feeds, reference=False)


def test_sizes_that_wrap_around() -> None:
    model = parse(
        HEAD + "g (float[N] x) => (int32[1] y) {"
        "s = Shape(x) i = Cast <to = 6> (s) j = Mul(i, k) l = Div(j, k) y = Sub(l, i) }",
        k=np.array([1_000_000], np.int32),
    )
    checked(model, {"N": 3}, {"N": 3000})


@pytest.mark.parametrize("opset", [1, 3, 4, 6])
def test_opsets_before_numpys_broadcasting(opset: int) -> None:
    """The second operand stands where `axis` says; nothing may be known of the wrong size."""
    head = f'<ir_version: 3, opset_import: ["" : {opset}]>'
    text = "g (float[5,N] x, float[5] b) => (int64[2] y, int64[2] z) {"
    nodes = "a = Add <broadcast = 1, axis = 0> (x, b) s = Shape(a) z = Shape(x) y = Identity(s)"
    outcome = run(parse(head + text + nodes + "}"), FOLD)
    assert "s_1" not in outcome.weights
    assert not [line for line in outcome.lines if line.startswith("s_1 = Constant")]


BROKEN = [
    "a = Transpose <perm = [1, 7]> (x) s = Shape(a)",
    "a = Unsqueeze(x, zeros) s = Shape(a)",
    "t = Shape(x) s = Gather <axis = 3> (t, zeros)",
    "t = Shape(x) s = Transpose <perm = [1, 0]> (t)",
    "t = Shape(x) s = Concat <axis = 4> (t, t)",
]


@pytest.mark.parametrize("nodes", BROKEN)
def test_a_node_that_breaks_its_definition_stops_nothing(nodes: str) -> None:
    """Such files come in; other passes leave the node alone and go on with the rest."""
    text = "g (float[N,4] x) => (int64[?] y, int64[1] z) {"
    rest = " y = Neg(s) a0 = Shape <start = 1> (x) b0 = Shape <end = 1> (x) z = Mul(a0, b0) }"
    outcome = run(parse(HEAD + text + nodes + rest, zeros=i64(0, 0)), FOLD)
    assert outcome.lines[-1] == "z = Mul(a0_1, b0)"

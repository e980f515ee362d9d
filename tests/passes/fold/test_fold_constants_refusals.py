"""fold_constants: what is never folded, whatever its operands are."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import graphopt
from graphopt.passes.fold.fold_constants import FoldConstants
from tests.build import parse
from tests.passes.placed import PLACES, Place, piece, placed
from tests.passes.support import Array, Recorder, agree, lines, run

FOLD = FoldConstants()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


VALUES = {"k": f32(1, -2, 0), "m": f32(3, 4, 0.5)}


RANDOM = {
    "RandomNormalLike": "a = RandomNormalLike(k)",
    "RandomUniformLike": "a = RandomUniformLike(k)",
    "RandomNormal": "a = RandomNormal <shape = [3]> ()",
    "RandomUniform": "a = RandomUniform <shape = [3]> ()",
    "Bernoulli": "a = Bernoulli(p)",
    "Multinomial": "i = Multinomial <sample_size = 3> (q)\na = Cast <to = 1> (i)",
    "Dropout": "a = Dropout(k)",
    "Dropout in training": "a, mask = Dropout(k, r, t)",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", RANDOM)
def test_random_operators_never(case: str, place: Place) -> None:
    values = {
        "k": f32(1, 2, 3), "p": f32(0, 0.5, 1), "q": f32(1, 1, 1)[None],
        "r": np.array(0.5, np.float32), "t": np.array(True),
    }  # fmt: skip
    recorder = Recorder()
    outcome = run(placed(place, f"{RANDOM[case]}\ny = Add(x, a)", values), FOLD, evaluator=recorder)
    assert piece(outcome.after, place) == piece(outcome.before, place)
    assert recorder.asked == []


STORED = {
    "DequantizeLinear": "a = DequantizeLinear(q, s, z)",
    "QuantizeLinear": "i = QuantizeLinear(k, s, z)\na = Cast <to = 1> (i)",
    "DynamicQuantizeLinear": "i, j, l = DynamicQuantizeLinear(k)\na = Cast <to = 1> (i)",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", STORED)
def test_quantized_weights_stay(case: str, place: Place) -> None:
    values = {
        "k": f32(1, 2, 3), "s": np.array(0.5, np.float32), "z": np.array(3, np.uint8),
        "q": np.array([1, 2, 3], np.uint8),
    }  # fmt: skip
    recorder = Recorder()
    outcome = run(placed(place, f"{STORED[case]}\ny = Add(x, a)", values), FOLD, evaluator=recorder)
    assert piece(outcome.after, place) == piece(outcome.before, place)
    assert recorder.asked == []


def test_overridable_initializers_never() -> None:
    text = (
        HEAD
        + """g (float[3] x, float[3] k) => (float[3] y) {
        a = Add(k, m)
        s = Shape(k)
        f = Cast <to = 1> (s)
        b = Mul(a, f)
        n = Neg(m)
        c = Sub(b, n)
        y = Add(x, c)
    }"""
    )
    recorder = Recorder()
    run(parse(text, **VALUES), FOLD, evaluator=recorder)
    assert recorder.asked == ["Neg"]
    outcome = run(parse(text, **VALUES), FOLD)
    assert set(outcome.weights) >= {"k", "n_1"}
    feed = {"x": f32(1, 2, 3)}
    agree(outcome.before, outcome.after, [feed, {**feed, "k": f32(7, 8, 9)}])


def test_opaque_nodes_never() -> None:
    text = (
        HEAD
        + "g (float[3] x) => (float[3] y) { a = com.example.Add(k, m) b = Neg(a) y = Add(x, b) }"
    )
    recorder = Recorder()
    assert run(parse(text, **VALUES), FOLD, evaluator=recorder).unchanged
    assert recorder.asked == []


def test_calls_of_functions_never() -> None:
    model = placed("function", "y = Neg(x)", x="float[3]")
    model.graph.node[0].input[0] = "k"
    model.graph.initializer.append(helper.make_tensor("k", TensorProto.FLOAT, [3], [1, 2, 3]))
    assert run(model, FOLD).unchanged


def test_nodes_with_bodies_stay() -> None:
    text = (
        HEAD
        + """g (float[3] x) => (float[3] y) {
        c = Constant <value = bool {1}> ()
        a = If(c) <then_branch = t () => (float[3] p) { p = Neg(k) },
                   else_branch = e () => (float[3] q) { q = Exp(k) }>
        y = Add(x, a)
    }"""
    )
    outcome = run(parse(text, **VALUES), FOLD)
    assert outcome.lines[0] == "a = If(c_1)"
    agree(outcome.before, outcome.after)


def test_sequences_stay() -> None:
    text = (
        HEAD
        + """g (float[3] x) => (float[3] y) {
        s = SequenceConstruct(k, m)
        n = SequenceLength(s)
        f = Cast <to = 1> (n)
        a = ConcatFromSequence <axis = 0, new_axis = 1> (s)
        b = ReduceSum <keepdims = 0> (a)
        c = Add(b, f)
        y = Add(x, c)
    }"""
    )
    outcome = run(parse(text, **VALUES), FOLD)
    assert outcome.lines[0] == "s = SequenceConstruct(k, m)"
    agree(outcome.before, outcome.after)


def test_what_feeds_a_sequence_is_folded() -> None:
    text = (
        HEAD
        + """g (float[3] x) => (float[6] y) {
        a = Add(k, m)
        s = SequenceConstruct(a, x)
        y = ConcatFromSequence <axis = 0> (s)
    }"""
    )
    outcome = run(parse(text, **VALUES), FOLD)
    assert outcome.lines[0] == "s = SequenceConstruct(a_1, x)"
    text = text.replace("SequenceConstruct(a, x)", "SequenceConstruct(a, k)")
    outcome = run(parse(text, **VALUES), FOLD)
    assert outcome.lines[0] == "s = SequenceConstruct(a_1, k)"
    agree(outcome.before, outcome.after)


def test_recipe_identical_takes_only_what_keeps_every_bit() -> None:
    """Values that are moved are the same everywhere; sums and exponentials are not."""
    text = (
        HEAD
        + """g (float[3,3] x) => (float[3,3] y) {
        e = Exp(k)
        i = Unsqueeze(e, o)
        t = Unsqueeze(m, o)
        a = Mul(x, i)
        y = Add(a, t)
    }"""
    )
    model = parse(text, o=np.array([1]), **VALUES)
    result = graphopt.optimize(model, recipe="identical")
    assert lines(result.model.proto.graph) == [
        "e = Exp(k)", "i = Unsqueeze(e, o)", "a = Mul(x, i)", "y = Add(a, t_1)",
    ]  # fmt: skip
    assert result.report.status == "verified"
    reasons = next(p.skipped for s in result.report.stages for p in s.passes if p.name == FOLD.name)
    assert sum(reasons.values()) >= 1
    assert lines(graphopt.optimize(model).model.proto.graph)[0].startswith("a = Mul(x, i_")


def test_a_weight_that_is_stored_in_8_bits_stays_so() -> None:
    text = (
        HEAD
        + "g (float[3] x) => (float[3] y) { f = Cast <to = 1> (q) w = Mul(f, s) y = Add(x, w) }"
    )
    outcome = run(parse(text, q=np.array([1, 2, 3], np.int8), s=f32(0.5)), FOLD)
    assert outcome.unchanged


def test_8_bit_numbers_that_no_scale_multiplies_are_folded() -> None:
    text = HEAD + "g (float[3] x) => (float[3] y) { f = Cast <to = 1> (q) y = Mul(f, x) }"
    outcome = run(parse(text, q=np.array([1, 2, 3], np.int8)), FOLD)
    assert outcome.lines == ["y = Mul(f_1, x)"]

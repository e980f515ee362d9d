"""fuse_pad_conv: text in, text out; every form of Pad; padding of any shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.printer
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper

from graphopt.passes.fuse.fuse_pad_conv import FusePadConv
from tests.build import few, parse
from tests.passes.fuse.fused import kind, normal
from tests.passes.placed import GRAPHS, Place, piece, placed
from tests.passes.support import Array, agree, random_feeds, run

FUSE = FusePadConv()
X = "float[2,3,5,5]"
ANY = "float[?,?,?,?]"
CONV = "n = Conv(h, w, b)\n"
BODY = "h = Pad(x, p)\n" + CONV + "y = Relu(n)"


def amounts(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def values(**changed: Array) -> dict[str, Array]:
    made = {"w": normal(4, 3, 3, 3), "b": normal(4, seed=4), "p": amounts(0, 0, 1, 2, 0, 0, 3, 0)}
    return {**made, **changed}


def main(body: str, opset: int = 18, **changed: Array) -> ModelProto:
    return placed("main", body, values(**changed), x=X, y=ANY, opset=opset)


def pads_of(model: ModelProto) -> tuple[dict[str, Any], list[int]]:
    """Attributes of the only Conv but for its padding, and that."""
    (conv,) = (node for node in model.graph.node if node.op_type == "Conv")
    found = {item.name: helper.get_attribute_value(item) for item in conv.attribute}
    return found, list(found.pop("pads"))


@pytest.mark.parametrize("place", GRAPHS)
def test_fuses(place: Place) -> None:
    outcome = run(placed(place, BODY, values(), x=X, y="float[2,4,7,5]"), FUSE)
    assert piece(outcome.after, place) == ["n = Conv(x, w, b)", "y = Relu(n)"]
    assert (outcome.rewrites, outcome.skipped, outcome.left_out) == (1, {}, [])
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", ["if", "loop"])
def test_amounts_captured_from_the_main_graph(place: Place) -> None:
    model = placed(place, BODY, values(), x=X, y="float[2,4,7,5]", captured=True)
    outcome = run(model, FUSE)
    assert piece(outcome.after, place) == ["n = Conv(x, w, b)", "y = Relu(n)"]
    agree(outcome.before, outcome.after)


OWN = {
    "none stated": ("", [1, 2, 3, 0]),
    "zeros": ("<pads = [0, 0, 0, 0]>", [1, 2, 3, 0]),
    "its own": ("<pads = [1, 0, 2, 5], strides = [2, 1]>", [2, 2, 5, 5]),
    "not set": ('<auto_pad = "NOTSET", pads = [4, 3, 2, 1]>', [5, 5, 5, 1]),
    "valid": ('<auto_pad = "VALID", dilations = [1, 2]>', [1, 2, 3, 0]),
}


@pytest.mark.parametrize("case", OWN)
def test_padding_adds_up(case: str) -> None:
    attributes, pads = OWN[case]
    outcome = run(main(f"h = Pad(x, p)\ny = Conv {attributes} (h, w, b)"), FUSE)
    assert outcome.lines == ["y = Conv(x, w, b)"]
    others, found = pads_of(outcome.after)
    assert found == pads
    assert others.pop("auto_pad", b"NOTSET") == b"NOTSET"
    assert set(others) <= {"strides", "dilations"}
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("mode", ["", '<mode = "constant">'])
@pytest.mark.parametrize("opset", [11, 13, 18, 21])
def test_amounts_as_an_input(opset: int, mode: str) -> None:
    outcome = run(main(f"h = Pad {mode} (x, p)\ny = Conv(h, w, b)", opset), FUSE)
    assert pads_of(outcome.after) == ({}, [1, 2, 3, 0])
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("rest", ["", ", value = 0.0", ', mode = "constant"'])
@pytest.mark.parametrize("opset", [2, 7, 10])
def test_amounts_as_an_attribute(opset: int, rest: str) -> None:
    body = f"h = Pad <pads = [0,0,1,2,0,0,3,0]{rest}> (x)\ny = Conv(h, w, b)"
    outcome = run(main(body, opset), FUSE)
    assert pads_of(outcome.after) == ({}, [1, 2, 3, 0])
    outcome.before.opset_import[0].version = outcome.after.opset_import[0].version = max(7, opset)
    agree(outcome.before, outcome.after)


VALUES: dict[str, tuple[str, dict[str, Array]]] = {
    "left out": ('p, ""', {}),
    "scalar": ("p, v", {"v": np.array(0, np.float32)}),
    "a vector of one": ("p, v", {"v": np.zeros(1, np.float32)}),
    "left out before axes": ("q, , a", {"q": amounts(1, 3), "a": amounts(2)}),
    "axes": ("q, v, a", {"q": amounts(1, 3), "a": amounts(2), "v": np.array(0, np.float32)}),
    "axes in another order": ("q, , a", {"q": amounts(2, 1, 0, 3), "a": amounts(3, 2)}),
    "negative axes": ("q, , a", {"q": amounts(2, 1, 0, 3), "a": amounts(-1, -2)}),
    "all axes": ("p, , a", {"a": amounts(0, 1, 2, 3)}),
    "no axes": ("q, , a", {"q": amounts(), "a": amounts()}),
    "nothing added": ("q", {"q": np.zeros(8, np.int64)}),
}


@pytest.mark.parametrize("case", VALUES)
def test_forms_of_pad(case: str) -> None:
    inputs, constants = VALUES[case]
    body = f"h = Pad(x, {inputs})\n" + CONV + "y = Abs(n)"
    outcome = run(placed("main", body, values(**constants), x=X, y=ANY), FUSE)
    assert outcome.lines == ["n = Conv(x, w, b)", "y = Abs(n)"]
    agree(outcome.before, outcome.after)


def test_32_bit_axes() -> None:
    """Inference knows none, so that the file must tell the rank."""
    text = """<ir_version: 10, opset_import: ["" : 18]> g (float[2,3,5,5] x) => (float[2,4,?,?] y)
        <float[2,3,7,7] h> { h = Pad(x, q, , a) y = Conv(h, w) }"""
    axes = np.array([-1, 2], np.int32)
    outcome = run(parse(text, q=amounts(2, 1, 0, 1), a=axes, w=normal(4, 3, 3, 3)), FUSE)
    assert pads_of(outcome.after)[1] == [1, 2, 1, 0]
    # ONNX Runtime takes 64-bit axes alone.
    agree(outcome.before, outcome.after, reference=True)


def test_more_padding_than_kernel() -> None:
    model = main("h = Pad(x, p)\ny = Conv(h, w, b)", p=amounts(0, 0, 9, 0, 0, 0, 0, 7))
    agree(model, run(model, FUSE).after)


def test_a_chain_of_two_pads() -> None:
    body = "g = Pad(x, p)\nh = Pad(g, q)\ny = Conv <pads = [1, 1, 1, 1]> (h, w)"
    outcome = run(main(body, q=amounts(0, 0, 0, 1, 0, 0, 1, 0)), FUSE)
    assert (outcome.rewrites, pads_of(outcome.after)[1]) == (2, [2, 4, 5, 1])
    agree(outcome.before, outcome.after)


def test_open_sizes() -> None:
    model = placed("main", BODY, values(), x='float["N",3,"H","W"]', y=ANY)
    outcome = run(model, FUSE)
    assert outcome.rewrites == 1
    feeds = [random_feeds(model, 1, {"N": n, "H": h, "W": 3}) for n, h in ((1, 3), (3, 6))]
    agree(outcome.before, outcome.after, feeds)


def test_constant_nodes_in_ir_version_3() -> None:
    head = "p = Constant <value = int64[8] {0,0,1,1,0,0,1,1}> ()\n"
    head += "w = Constant <value = float[1,3,1,1] {1.0, 2.0, 3.0}> ()\n"
    text = head + "h = Pad(x, p)\ny = Conv(h, w)"
    outcome = run(placed("main", text, x=X, y=ANY, ir=3, opset=11), FUSE)
    assert piece(outcome.after, "main") == ["y = Conv(x, w)"]
    agree(outcome.before, outcome.after)


def test_amounts_that_others_read_stay() -> None:
    body = "h = Pad(x, p)\nn = Conv(h, w)\nk = Pad(n, p)\ny = Abs(k)"
    outcome = run(main(body), FUSE)
    assert outcome.lines == ["n = Conv(x, w)", "k = Pad(n, p)", "y = Abs(k)"]
    agree(outcome.before, outcome.after)


@st.composite
def padded(draw: st.DrawFn) -> ModelProto:
    """A Pad of any amounts before a Conv of any rank, stride, dilation, groups, own padding."""
    rank, group = draw(st.integers(1, 3)), draw(st.sampled_from([1, 3]))
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))

    def numbers(low: int, high: int, size: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=size, max_size=size))

    given_pads = [0, 0, *numbers(0, 3, rank), 0, 0, *numbers(0, 3, rank)]
    attributes = (
        f"group = {group}, pads = {numbers(0, 2, 2 * rank)}, strides = {numbers(1, 2, rank)},"
        f" dilations = {numbers(1, 2, rank)}"
    )
    constants = {"w": normal(6, 3 // group, *numbers(1, 2, rank), seed=draw(st.integers(0, 99)))}
    constants = {"w": constants["w"].astype(dtype), "p": amounts(*given_pads)}
    x = f"{kind(dtype)}[2,3,{','.join('4' * rank)}]"
    y = f"{kind(dtype)}[{','.join('?' * (rank + 2))}]"
    body = f"h = Pad(x, p)\ny = Conv <{attributes}> (h, w)"
    return placed("main", body, constants, x=x, y=y)


@few
@given(padded())
def test_any_padding(model: ModelProto) -> None:
    outcome = run(model, FUSE)
    assert outcome.lines == ["y = Conv(x, w)"]
    # ONNX Runtime has no float64 Conv.
    agree(model, outcome.after, reference="double" in onnx.printer.to_text(model))

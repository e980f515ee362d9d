"""What the tests share that put one operator in the place of several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from graphopt.contract import AnyPass
from tests.build import parse
from tests.passes.fuse.fused import dims, refused
from tests.passes.placed import GRAPHS, Place, piece, placed
from tests.passes.support import Array, Outcome, agree, run

X = "float[2,3,8]"
READ = "a value between is read elsewhere"
TYPE = "the type is not known, or one that ONNX Runtime may lack the operator for"
WIDENS = "a constant may widen the result"
SPECIAL = np.array(
    [-np.inf, np.inf, np.nan, 0.0, -0.0, 1e-30, -1e-30, 3.0, -3.0, 2.9999998, 30.0, -30.0],
    np.float32,
)
"""Values at which a formula and an operator might part."""


def scalars(
    dtype: Any = np.float32, shape: tuple[int, ...] = (), **numbers: float
) -> dict[str, Array]:
    """Constants of one element, by name."""
    return {name: np.full(shape, number, dtype) for name, number in numbers.items()}


def model(
    body: str,
    constants: Mapping[str, Array],
    opset: int,
    *,
    x: str = X,
    y: str = "",
    place: Place = "main",
) -> ModelProto:
    """A piece of graph at an opset, with the IR version that it may have."""
    return placed(place, body, constants, x=x, y=y, opset=opset, ir=10)


def fuses(
    instance: AnyPass,
    before: ModelProto,
    expected: list[str],
    *,
    place: Place = "main",
    reference: bool = False,
    feeds: Any = None,
) -> Outcome:
    """Assert what a pass makes of a piece, and that it says the same."""
    outcome = run(before, instance)
    assert piece(outcome.after, place) == expected
    assert (outcome.skipped, outcome.left_out) == ({}, [])
    agree(outcome.before, outcome.after, feeds, reference=reference)
    return outcome


def holds_everywhere(
    instance: AnyPass,
    body: str,
    constants: Mapping[str, Array],
    opset: int,
    middle: str,
    one: str,
    *,
    in_functions: bool = True,
) -> None:
    """Assert what does not depend on the operator.

    Args:
        instance: The pass.
        body: The formula, from x to y.
        constants: What it reads.
        opset: An opset that has the operator.
        middle: A value between.
        one: The result's one line.
        in_functions: The pass can do without shapes and types, which are not known there.
    """
    for place in GRAPHS:
        fuses(instance, model(body, constants, opset, place=place), [one], place=place)
    for place in ("if", "loop"):
        captured = placed(place, body, constants, x=X, opset=opset, captured=True)
        fuses(instance, captured, [one], place=place)
    function = model(body, constants, opset, place="function")
    if in_functions:
        fuses(instance, function, [one], place="function")
    else:
        assert run(function, instance).unchanged
    nodes = model(body, {}, opset)
    for name, array in constants.items():
        tensor = numpy_helper.from_array(array)
        nodes.graph.node.insert(0, helper.make_node("Constant", [], [name], value=tensor))
    outcome = run(nodes, instance)
    assert piece(outcome.after, "main") == [one]
    agree(outcome.before, outcome.after)
    forked = f"{body}\nspare = Neg({middle})\nz = ReduceSum <keepdims = 0> (spare)"
    refused(_with_output(forked, constants, opset, "z", "float"), instance, READ)
    given = parse(_main(body, opset, f", float[?,?,?] {middle}"), **constants)
    refused(given, instance, READ)
    inner = f"""{body}
        z = If(taken) <then_branch = yes () => (float[?,?,?] then) {{ then = Neg({middle}) }},
                       else_branch = no () => (float[?,?,?] other) {{ other = Neg(x) }}>"""
    captured = _with_output(inner, constants, opset, "z", "float[?,?,?]", ", bool taken")
    refused(captured, instance, READ)
    overridable = parse(
        _main(body, opset, "", "".join(f", float{dims(a)} {n}" for n, a in constants.items())),
        **constants,
    )
    if constants:
        assert run(overridable, instance).unchanged
    again = run(outcome.after, instance)
    assert again.unchanged


def _with_output(
    body: str, constants: Mapping[str, Array], opset: int, name: str, type_: str, more: str = ""
) -> ModelProto:
    return parse(_main(body, opset, f", {type_} {name}", more), **constants)


def _main(body: str, opset: int, outputs: str, inputs: str = "") -> str:
    head = f'<ir_version: 10, opset_import: ["" : {opset}]>'
    return f"{head} g ({X} x{inputs}) => ({X} y{outputs}) {{ {body} }}"


def special(before: ModelProto, after: ModelProto) -> None:
    """Assert equal answers, infinities and NaN included."""
    shape = [d.dim_value for d in before.graph.input[0].type.tensor_type.shape.dim]
    agree(before, after, [{"x": np.resize(SPECIAL, shape)}])

"""Leave out inputs that say what holds without them.

Before: ConstantOfShape(0) -> initial_h of LSTM        After: LSTM without initial_h

LSTM, GRU and RNN: initial states and peepholes of zeros, biases of zeros, lengths that are those of
the whole sequence. Conv and ConvTranspose: a bias of zeros. Gemm: a C of zeros, or with beta 0.
Clip: bounds that are the type's finite extremes. Pad: the value 0. Slice: steps of 1. Resize: a roi
that its mode does not read, scales beside sizes. What computed such an input dies with it.

Zeros are constants, or ConstantOfShape, and whatever only moves, repeats or converts them. Adding
0.0 turns -0.0 into 0.0: a bias of zeros counts as rounding, an initial state as identical.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.passes.eliminate._operands import input_of, is_small, numbers, size_along
from graphopt.passes.eliminate._zeros import zero_array, zeros

Rule = Callable[[NodeView, ValueView], "Effect | None"]
"""Tells how exactly a node does without an input; None where it needs it."""


@dataclass(frozen=True, slots=True)
class Found:
    """A node, and the inputs that it does without."""

    node: NodeView
    indices: tuple[int, ...]
    effect: Effect


@dataclass(frozen=True)
class EliminateDefaults:
    """Leave out optional inputs whose values are the defaults.

    Fires on: silero_vad, ppocr_rec. Source: ONNX operators LSTM, GRU, RNN, Conv, ConvTranspose,
    Gemm, Clip, Pad, Slice and Resize, opsets 7 to 25.
    """

    name: ClassVar[str] = "eliminate_defaults"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = (
        "Clip", "Conv", "ConvTranspose", "GRU", "Gemm", "LSTM", "Pad", "RNN", "Resize", "Slice",
    )  # fmt: skip

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at a node's optional inputs."""
        found: dict[int, Effect] = {}
        for index, since, rule in _RULES[node.op_type]:
            value = input_of(node, index)
            if value is None or graph.opset() < since:
                continue
            effect = rule(node, value)
            if effect is not None:
                found[index] = effect
        if not found:
            return None
        exact = all(effect is Effect.IDENTICAL for effect in found.values())
        return Found(node, tuple(found), Effect.IDENTICAL if exact else Effect.ROUNDING)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Leave them out."""
        for index in match.indices:
            edit.set_input(match.node, index, None)


def _state(node: NodeView, value: ValueView) -> Effect | None:
    return zeros(value)


def _bias(node: NodeView, value: ValueView) -> Effect | None:
    return Effect.ROUNDING if value.is_constant and zero_array(value) is not None else None


def _lengths(node: NodeView, value: ValueView) -> Effect | None:
    """Lengths that are the whole sequence's."""
    steps = size_along(node.inputs[0], 1 if node.attribute("layout", 0) else 0)
    given = numbers(value)
    full = steps is not None and given and all(length == steps for length in given)
    return Effect.IDENTICAL if full else None


def _addend(node: NodeView, value: ValueView) -> Effect | None:
    """Times 0, only finite numbers are nothing."""
    if node.attribute("beta", 1.0) != 0.0:
        return _bias(node, value)
    return Effect.ROUNDING if is_small(value) and np.isfinite(value.array()).all() else None


def _bound(*, largest: bool) -> Rule:
    def rule(node: NodeView, value: ValueView) -> Effect | None:
        kind = value.dtype
        if kind is None or kind.kind not in "fiu" or not is_small(value) or value.shape != ():
            return None
        info = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
        same = value.array() == (info.max if largest else info.min)
        return Effect.IDENTICAL if same else None

    return rule


def _padding(node: NodeView, value: ValueView) -> Effect | None:
    return zero_array(value) if value.is_constant else None


def _steps(node: NodeView, value: ValueView) -> Effect | None:
    given = numbers(value)
    ones = given is not None and all(step == 1 for step in given)
    return Effect.IDENTICAL if ones else None


def _region(node: NodeView, value: ValueView) -> Effect | None:
    mode = node.attribute("coordinate_transformation_mode", "half_pixel")
    return None if mode == "tf_crop_and_resize" or not value.is_constant else Effect.IDENTICAL


def _scales(node: NodeView, value: ValueView) -> Effect | None:
    """Scales of nothing, where sizes are given."""
    beside = input_of(node, 3) is not None and value.is_constant and value.shape == (0,)
    return Effect.IDENTICAL if beside else None


_RECURRENT = ((3, 7, _bias), (4, 7, _lengths), (5, 7, _state))
_RULES: dict[str, tuple[tuple[int, int, Rule], ...]] = {
    "Clip": ((1, 11, _bound(largest=False)), (2, 11, _bound(largest=True))),
    "Conv": ((2, 1, _bias),),
    "ConvTranspose": ((2, 1, _bias),),
    "GRU": _RECURRENT,
    "Gemm": ((2, 11, _addend),),
    "LSTM": (*_RECURRENT, (6, 7, _state), (7, 7, _bias)),
    "Pad": ((2, 11, _padding),),
    "RNN": _RECURRENT,
    "Resize": ((1, 13, _region), (2, 13, _scales)),
    "Slice": ((4, 10, _steps),),
}
"""Optional inputs: index, the first opset in which it may be left out, and the rule."""

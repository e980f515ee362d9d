"""A line clipped at both ends, as HardSigmoid computes it and as it is spelled out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt.contract import NodeView, ValueView
from graphopt.passes.fuse._spelled import Spelling

_FIRST_CLIP_WITH_INPUTS = 11


@dataclass(frozen=True, slots=True)
class Ramp:
    """`min(max(source * slope + offset, 0), top)`."""

    source: ValueView
    slope: float
    offset: float
    top: float

    def times(self, factor: float) -> Ramp:
        """The same, scaled by a positive number."""
        return Ramp(self.source, self.slope * factor, self.offset * factor, self.top * factor)

    @property
    def is_finite(self) -> bool:
        """True where slope and offset can be attributes, which are float32."""
        numbers = np.array([self.slope, self.offset])
        with np.errstate(over="ignore"):
            held = numbers.astype(np.float32)
        return bool(np.isfinite(held).all() and ((held == 0) == (numbers == 0)).all())


def ramp(
    spelling: Spelling, value: ValueView | None, source: ValueView | None = None
) -> Ramp | None:
    """Read `value` as a ramp.

    Args:
        spelling: Takes in the nodes read.
        value: What to read.
        source: What the line is of; None to go up as far as the line does.
    """
    clipped = _clipped(spelling, value)
    if clipped is None:
        return None
    line, top = clipped
    outer = (line, 1.0) if line is source else spelling.scaled(line)
    if outer is None:
        return None
    line, factor = outer
    offset = 0.0
    if line is not source:
        line, offset = _shifted(spelling, line)
    inner = (line, 1.0) if line is source else spelling.scaled(line)
    if inner is None or (source is not None and inner[0] is not source):
        return None
    return Ramp(inner[0], inner[1] * factor, offset * factor, top)


def hard_sigmoid(spelling: Spelling, value: ValueView | None, source: ValueView) -> Ramp | None:
    """Read `value` as what a HardSigmoid of `source` makes."""
    node = spelling.made_by(value, "HardSigmoid")
    if node is None or node.inputs[0] is not source:
        return None
    return Ramp(source, node.attribute("alpha", 0.2), node.attribute("beta", 0.5), 1.0)


def _clipped(spelling: Spelling, value: ValueView | None) -> tuple[ValueView, float] | None:
    """What is clipped to [0, top], and top."""
    node = spelling.made_by(value, "Clip", "Min")
    if node is None:
        return None
    if node.op_type == "Min":
        return _least_of(spelling, node)
    if node.graph.opset() < _FIRST_CLIP_WITH_INPUTS:
        low, top = node.attribute("min"), node.attribute("max")
    else:
        bounds = [*node.inputs[1:3], None, None]
        low, top = spelling.number(bounds[0]), spelling.number(bounds[1])
    line = node.inputs[0]
    if line is None or low != 0 or top is None or not 0 < top < np.inf:
        return None
    return line, top


def _least_of(spelling: Spelling, node: NodeView) -> tuple[ValueView, float] | None:
    """Min(Relu(line), top), as TensorFlow's Relu6 is written."""
    found = spelling.beside_number(node)
    relu = spelling.made_by(found[0], "Relu", "Max") if found is not None else None
    if found is None or relu is None or not 0 < found[1] < np.inf:
        return None
    if relu.op_type == "Relu":
        return None if relu.inputs[0] is None else (relu.inputs[0], found[1])
    sides = spelling.beside_number(relu)
    return (sides[0], found[1]) if sides is not None and sides[1] == 0 else None


def _shifted(spelling: Spelling, value: ValueView) -> tuple[ValueView, float]:
    """Read `value` as another one plus a number, which is 0 where nothing is added."""
    node = value.producer
    if node is None or node.op_type not in ("Add", "Sub") or not spelling.only(value):
        return value, 0.0
    found = spelling.beside_number(node)
    if found is None or (node.op_type == "Sub" and found[2] == 0):
        return value, 0.0
    if spelling.made_by(value, "Add", "Sub") is None:
        return value, 0.0
    return found[0], found[1] if node.op_type == "Add" else -found[1]

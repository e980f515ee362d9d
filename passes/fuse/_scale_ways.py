"""The nodes between a node that scales and those that take the scale in, and how to change them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from graphopt.contract import Array, Editor, NodeView, Skip, ValueView
from graphopt.passes.fuse._absorbed import Constants

LONGEST = 24
"""Nodes on all ways together."""
_BOUNDS = {np.dtype(np.float16): (-4, 0), np.dtype(np.float32): (-40, 40)}
"""Binary digits by which terms of a sum of activations may become smaller or larger."""
DESCRIBING = ("Shape", "Size")
"""What reads no elements."""
NO_WAY = Skip("no constant on the way takes the scale")
FAR = Skip("the scale is too far from 1 for a sum in this type")
SEEN = Skip("a value on the way is a graph output")
WIDENS = Skip("the scale widens what it meets")


@dataclass(frozen=True, slots=True)
class Step:
    """A node to be built anew.

    Attributes:
        inputs: Inputs that carry the scale.
        output: The output on the way, seen from below.
        constants: New constants by input.
    """

    node: NodeView
    inputs: tuple[int, ...]
    output: int
    constants: Constants = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Way:
    """What takes a scale in.

    Attributes:
        passed: Nodes to be built anew, in an order in which each follows what it reads.
        ends: Nodes that stay and get new constants.
        rises: True where the scale is taken in above; false where below.
    """

    passed: list[Step]
    ends: list[Step]
    rises: bool

    @property
    def takers(self) -> list[NodeView]:
        """The nodes that take the scale in."""
        return [step.node for step in (*self.passed, *self.ends) if step.constants]

    def written(self, target: ValueView) -> list[ValueView]:
        """What is rounded in another way, `target` being what the scaling node writes."""
        below = [result for step in self.ends for result in step.node.outputs]
        return [target] if self.rises else [result for result in below if result is not None]


def is_moderate(scale: Array, value: ValueView) -> bool:
    """Tell whether a product of activations stays within its type's range, scaled early or late."""
    least, most = _BOUNDS.get(value.dtype or np.dtype(np.float16), (-200, 200))
    return scale.ndim == 0 and least <= float(np.log2(abs(scale))) <= most


def take_up(way: Way, scaling: NodeView, edit: Editor) -> None:
    """Build the nodes above anew, so that the last one writes what the scaling node wrote."""
    target = scaling.outputs[0]
    assert target is not None
    last = way.passed[-1]
    if len(way.passed) == 1 and _is_read_by(last, scaling):
        for index, array in last.constants.items():
            edit.set_input(last.node, index, _constant(last.node, index, array, edit))
        edit.adopt(last.node, last.output, target)
        edit.remove(scaling)
        return
    new: dict[ValueView, ValueView] = {}
    for step in way.passed:
        copy = _copied(step, new, edit)
        former, made = step.node.outputs[step.output], copy.outputs[step.output]
        assert former is not None
        assert made is not None
        if step is last:
            edit.adopt(copy, step.output, target)
            made = target
        for index, value in enumerate(step.node.outputs):
            if index != step.output and value is not None:
                edit.adopt(copy, index, value)
        new[former] = made
    edit.remove(scaling)
    passed = {step.node for step in way.passed}
    for former, made in new.items():
        for use in list(former.readers):
            if use.node not in passed:
                edit.set_input(use.node, use.index, made)
    for step in reversed(way.passed):
        edit.remove(step.node)


def _is_read_by(step: Step, reader: NodeView) -> bool:
    """Tell whether one node alone reads what another one writes."""
    value = step.node.outputs[step.output]
    return value is not None and [use.node for use in value.readers] == [reader]


def take_down(way: Way, scaling: NodeView, source: ValueView, edit: Editor) -> None:
    """Build the nodes below anew on what was not scaled yet, up to those that take the scale in."""
    target = scaling.outputs[0]
    assert target is not None
    new = {target: source}
    for step in way.passed:
        copy = _copied(step, new, edit)
        for former, made in zip(step.node.outputs, copy.outputs, strict=True):
            assert former is not None
            assert made is not None
            new[former] = made
    for step in way.ends:
        for index, array in step.constants.items():
            edit.set_input(step.node, index, _constant(step.node, index, array, edit))
    for former, value in new.items():
        for use in list(former.readers):
            if use.node.op_type in DESCRIBING or any(use.node is s.node for s in way.ends):
                edit.set_input(use.node, use.index, value)
    for step in reversed(way.passed):
        edit.remove(step.node)
    edit.remove(scaling)


def _copied(step: Step, new: Mapping[ValueView, ValueView], edit: Editor) -> NodeView:
    node, inputs = step.node, list(step.node.inputs)
    for index in step.inputs:
        former = inputs[index]
        assert former is not None
        inputs[index] = new[former]
    for index, array in step.constants.items():
        inputs[index] = _constant(node, index, array, edit)
    return edit.insert(
        node.op_type, inputs, before=node, outputs=len(node.outputs), attributes=node.attributes
    )


def _constant(node: NodeView, index: int, array: Array, edit: Editor) -> ValueView:
    former = node.inputs[index]
    assert former is not None
    plain = former.name.split("_scaled")[0] or former.name
    return edit.constant(array, f"{plain}_scaled", node.graph)

"""Remove what changes nothing the second time, and make one limit of two.

Before: x -> Relu -> Relu -> y        After: x -> Relu -> y
Before: x -> Sigmoid -> Relu -> y     After: x -> Sigmoid -> y
Before: x -> Clip(0, 9) -> Clip(-1, 6) -> y        After: x -> Clip(0, 6) -> y
Before: x -> Neg -> Abs -> y          After: x -> Abs -> y

Abs, Ceil, Floor, Round, Sign, Relu and Clip of themselves; Relu, Abs and Clip of numbers that lie
within the limits as they are; Ceil, Floor and Round of whole numbers. Two of Clip and Relu in a row
become one Clip, whose bounds are what the second makes of the first's.

Conditions: bounds are constants; where two become one, nothing else reads what lies between.
Rounding where limits of different operators meet: a zero may keep its sign, a NaN may stay one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.contract import Array, Context, Editor, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.passes.eliminate._ranges import Bounds, Range, clip_bounds, range_of

_AGAIN = frozenset({"Abs", "Ceil", "Floor", "Relu", "Round", "Sign"})
"""Operators that change nothing the second time."""
_LIMITS = frozenset({"Clip", "Relu"})
_MIDDLE: dict[str, Range] = {"Abs": Range(0.0), "Relu": Range(0.0)}
"""What they leave alone."""
_WHOLE = frozenset({"Ceil", "Floor", "Round"})


@dataclass(frozen=True, slots=True)
class Found:
    """A node that has nothing left to do, or that can do the work of the one before it.

    Attributes:
        source: What its readers read, or what it reads itself where it does the work of both.
        merges: Whether it takes in the node before it.
        bounds: Those of the Clip that takes the place of both, None where it is no Clip.
    """

    node: NodeView
    source: ValueView
    effect: Effect
    merges: bool = False
    bounds: Bounds | None = None


@dataclass(frozen=True)
class EliminateRepeated:
    """Remove Relu, Clip, Abs and the like behind what already did their work.

    Fires on synthetic graphs only among the catalogue's models. Source: idempotent functions;
    ONNX operators Relu, Clip, Abs, Sign, Round, Floor and Ceil, opsets 6 to 25.
    """

    name: ClassVar[str] = "eliminate_repeated"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = (*sorted(_AGAIN), "Clip")

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at the second of two."""
        between, target = node.inputs[0], node.outputs[0]
        first = None if between is None else between.producer
        if between is None or target is None or first is None or first.is_opaque:
            return None
        if first.op_type == node.op_type and node.op_type in _AGAIN:
            refused = target.replaceable_by(between)
            return refused or Found(node, between, Effect.IDENTICAL)
        if _leaves_alone(node, range_of(between)):
            return target.replaceable_by(between) or Found(node, between, _meeting(first, node))
        return _merged(first, between, node)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Bypass it, or let it do the work of both."""
        node, target = match.node, match.node.outputs[0]
        assert target is not None
        if not match.merges:
            edit.replace(target, match.source)
            edit.remove(node)
            return
        first = None if node.inputs[0] is None else node.inputs[0].producer
        assert first is not None
        if match.bounds is None:
            edit.set_input(node, 0, match.source)
        else:
            made = _clip(match.bounds, first, node, edit)
            edit.adopt(made, 0, target)
            edit.remove(node)
        edit.remove(first)


def _leaves_alone(node: NodeView, known: Range) -> bool:
    """Tell whether numbers within a range stay what they are."""
    if node.op_type in _WHOLE and known.whole:
        return True
    limits = _MIDDLE.get(node.op_type)
    if node.op_type == "Clip":
        bounds = clip_bounds(node)
        limits = None if bounds is None else Range(float(bounds[0]), float(bounds[1]))
    if limits is None or (known.low == -np.inf and known.high == np.inf):
        return False
    return limits.low <= known.low and known.high <= limits.high


def _merged(first: NodeView, between: ValueView, node: NodeView) -> Found | Skip | None:
    """One node for two in a row."""
    pair = {first.op_type, node.op_type}
    even = (first.op_type, node.op_type) == ("Neg", "Abs")
    if not even and not pair <= _LIMITS:
        return None
    source = first.inputs[0]
    if first.graph is not node.graph or source is None:
        return Skip("the first stands in another graph")
    if between.is_graph_output or len(between.readers) != 1:
        return Skip("what lies between is read elsewhere")
    if even:
        return Found(node, source, Effect.IDENTICAL, merges=True)
    inner, outer = _bounds(first), _bounds(node)
    if inner is None or outer is None:
        return Skip("bounds are not constant numbers")
    low, high = (min(max(bound, outer[0]), outer[1]) for bound in inner)
    return Found(node, source, _meeting(first, node), merges=True, bounds=(low, high))


def _meeting(first: NodeView, node: NodeView) -> Effect:
    """How exactly two limits are one: kernels agree on zeros and NaNs with themselves alone."""
    if first.op_type != node.op_type:
        return Effect.ROUNDING
    bounds = [bound for side in (_bounds(first), _bounds(node)) for bound in side or ()]
    mixed = any(bound == 0 and np.signbit(bound) for bound in bounds)
    return Effect.ROUNDING if mixed else Effect.IDENTICAL


def _bounds(node: NodeView) -> Bounds | None:
    """What a Clip or a Relu keeps its numbers within."""
    if node.op_type == "Clip":
        return clip_bounds(node)
    kind = None if node.inputs[0] is None else node.inputs[0].dtype
    if kind is None or kind.kind != "f" or node.graph.opset() < 6:
        return None
    return kind.type(0), kind.type(np.inf)


def _holds(value: ValueView, number: Array) -> bool:
    return value.shape == () and value.array().tobytes() == number.tobytes()


def _clip(bounds: Bounds, first: NodeView, node: NodeView, edit: Editor) -> NodeView:
    """A Clip with these bounds before `node`; the type's extremes are left out."""
    source = first.inputs[0]
    assert source is not None
    graph, kind = node.graph, source.dtype
    assert kind is not None
    info = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    given = [
        None if bound == extreme else np.array(bound, kind)
        for bound, extreme in zip(bounds, (info.min, info.max), strict=True)
    ]
    stored = [v for n in (node, first) for v in n.inputs[1:] if v is not None and v.is_constant]
    name = "clip" if node.outputs[0] is None else node.outputs[0].name
    if graph.opset() < 11:
        attributes = {
            key: float(bound)
            for key, bound in zip(("min", "max"), given, strict=True)
            if bound is not None
        }
        return edit.insert("Clip", [source], before=node, attributes=attributes, hint=name)
    inputs: list[ValueView | None] = [source]
    for key, bound in zip(("min", "max"), given, strict=True):
        same = None if bound is None else next((v for v in stored if _holds(v, bound)), None)
        new = None if bound is None or same else edit.constant(bound, f"{name}_{key}", graph)
        inputs.append(same or new)
    while inputs[-1] is None:
        inputs.pop()
    return edit.insert("Clip", inputs, before=node, hint=name)

"""One operator spelled out in several: reading the nodes, and putting the one in their place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from graphopt.contract import Editor, Effect, NodeView, Skip, ValueView

TYPES = (np.dtype(np.float16), np.dtype(np.float32))
"""Types for which ONNX Runtime has every operator that is put in."""
_SCALAR_BYTES = 16
_LONGEST = 4
"""Nodes that a product may consist of."""
_FARTHEST = 8
"""Nodes that are looked at to find the last one of a pattern."""
_DEEPEST = 8
"""Nodes in a row that a polynomial may consist of."""

Attempt = TypeVar("Attempt")


@dataclass(frozen=True, slots=True)
class Spelled:
    """Nodes that one operator replaces.

    Attributes:
        op_type: The operator.
        inputs: What it reads.
        attributes: Its attributes.
        nodes: What goes, later ones first; the first writes the result.
    """

    op_type: str
    inputs: tuple[ValueView, ...]
    attributes: Mapping[str, Any]
    nodes: tuple[NodeView, ...]
    effect: Effect = Effect.ROUNDING


@dataclass(slots=True)
class Spelling:
    """A pattern as it is read, from its last node upwards.

    Attributes:
        last: The node that writes the result.
        nodes: All nodes read so far, in no order.
        rank: The largest rank among the scalar constants read so far.
        dtype: Type of the result, known of a number beside something where no inference reached.
    """

    last: NodeView
    nodes: dict[NodeView, None] = field(default_factory=dict)
    rank: int = 0
    dtype: np.dtype[Any] | None = None

    def __post_init__(self) -> None:
        """The last node belongs to the pattern."""
        self.nodes[self.last] = None
        result = self.last.outputs[0]
        self.dtype = result.dtype if result is not None else None

    def made_by(self, value: ValueView | None, *op_types: str) -> NodeView | None:
        """The node that makes `value`, now part of the pattern; None where it is none of these."""
        node = value.producer if value is not None else None
        if node is None or node.op_type not in op_types or node.is_opaque:
            return None
        if node.graph is not self.last.graph or value is not node.outputs[0]:
            return None
        self.nodes[node] = None
        return node

    def number(self, value: ValueView | None) -> float | None:
        """What a constant of one element holds; None for any other value."""
        if value is None or not value.is_constant or (value.nbytes or 0) > _SCALAR_BYTES:
            return None
        array = value.array()
        if array.size != 1 or array.dtype.kind not in "iuf":
            return None
        self.rank = max(self.rank, array.ndim)
        return float(array.reshape(()))

    def beside_number(self, node: NodeView) -> tuple[ValueView, float, int] | None:
        """The operand of a binary node that is not constant, the number beside it, its index."""
        if len(node.inputs) != 2:
            return None
        for index in (1, 0):
            operand = node.inputs[1 - index]
            if operand is None or operand.is_constant:
                continue
            constant = node.inputs[index]
            number = self.number(constant)
            if constant is not None and number is not None:
                self.dtype = constant.dtype
                return operand, number, index
        return None

    def scaling(self, node: NodeView) -> tuple[ValueView, float] | None:
        """Read a Mul or Div as one operand times a number."""
        found = self.beside_number(node)
        if found is None:
            return None
        operand, number, index = found
        if node.op_type == "Mul":
            return operand, number
        return None if index == 0 or number == 0 else (operand, 1 / number)

    def scaled(self, value: ValueView | None) -> tuple[ValueView, float] | None:
        """Read `value` as another one times a number, which is 1 where nothing scales it."""
        if value is None or value.is_constant:
            return None
        node = value.producer
        if node is None or node.op_type not in ("Mul", "Div") or not self.only(value):
            return value, 1.0
        found = self.scaling(node)
        if found is None or self.made_by(value, "Mul", "Div") is None:
            return value, 1.0
        return found

    def only(self, value: ValueView) -> bool:
        """True where one node alone reads `value`, once."""
        return len(value.readers) == 1 and not value.is_graph_output

    def extend(self, node: NodeView) -> None:
        """Let the pattern go on to a node behind the last one."""
        self.nodes[node] = None
        self.last = node

    def polynomial(
        self, value: ValueView | None, unknown: ValueView, depth: int = _DEEPEST
    ) -> dict[int, float] | None:
        """Read `value` as a polynomial in `unknown`: coefficients by power; None where it is none.

        Only sums are read, and they may not take anything off: what cancels does not round alike.
        """
        if value is unknown:
            return {1: 1.0}
        number = self.number(value)
        if number is not None:
            return {0: number}
        node = self.made_by(value, "Add", "Mul", "Div", "Pow") if depth else None
        if node is None or len(node.inputs) != 2:
            return None
        first = self.polynomial(node.inputs[0], unknown, depth - 1)
        if first is None:
            return None
        if node.op_type == "Pow":
            return _raised(first, self.number(node.inputs[1]))
        second = self.polynomial(node.inputs[1], unknown, depth - 1)
        return None if second is None else _combined(node.op_type, first, second)

    def near(self, number: float, wanted: float) -> bool:
        """Tell whether a number of the result's type is the wanted one, but for few roundings."""
        if self.dtype is None or self.dtype not in TYPES:
            return number == wanted
        return near(number, wanted, self.dtype)

    def refusal(self, source: ValueView) -> Skip | None:
        """Why the nodes read cannot go; None where one operator may take their place.

        Args:
            source: What the operator is to read; the result has its shape.
        """
        if (source.dtype or self.dtype) not in TYPES:
            return Skip("the type is not known, or one that ONNX Runtime may lack the operator for")
        if self.rank and (source.shape is None or len(source.shape) < self.rank):
            return Skip("a constant may widen the result")
        inner = [v for node in self.nodes if node is not self.last for v in node.outputs if v]
        for value in inner:
            if value.is_graph_output or any(use.node not in self.nodes for use in value.readers):
                return Skip("a value between is read elsewhere")
        return None

    def as_one(
        self, op_type: str, inputs: Sequence[ValueView], attributes: Mapping[str, Any] | None = None
    ) -> Spelled:
        """The pattern, read to its end."""
        others = [node for node in self.nodes if node is not self.last]
        return Spelled(op_type, tuple(inputs), dict(attributes or {}), (self.last, *others))


def behind(node: NodeView, *op_types: str) -> Iterator[NodeView]:
    """Nodes of these operators that go on from `node`, nearest first, but only a few.

    Passes start from the rarest operator of their pattern and look here for its last node.
    """
    pending, seen = [node], {node}
    while pending:
        value = pending.pop(0).outputs[0]
        for use in value.readers if value is not None else ():
            reader = use.node
            if reader in seen or reader.op_type not in op_types or reader.is_opaque:
                continue
            if len(seen) > _FARTHEST or reader.graph is not node.graph:
                continue
            seen.add(reader)
            pending.append(reader)
            yield reader


def first(attempts: Iterable[Attempt | Skip | None]) -> Attempt | Skip | None:
    """The first match, else the first refusal."""
    refused: Skip | None = None
    for found in attempts:
        if found is not None and not isinstance(found, Skip):
            return found
        refused = refused or found
    return refused


def product(spelling: Spelling) -> tuple[list[ValueView], float] | None:
    """Read the last node as a product: one or two factors, and the number beside them."""
    factors: list[ValueView] = []
    number = 1.0
    pending = [spelling.last]
    while pending:
        node = pending.pop()
        scaling = spelling.scaling(node)
        if scaling is None and node.op_type != "Mul":
            return None
        number *= 1.0 if scaling is None else scaling[1]
        operands = node.inputs if scaling is None else [scaling[0]]
        for value in operands:
            inner = None if value is None else _inner_factor(spelling, value)
            if inner is not None:
                pending.append(inner)
            elif value is not None:
                factors.append(value)
        if len(factors) + len(pending) > 2 or len(spelling.nodes) > _LONGEST:
            return None
    return factors, number


def _inner_factor(spelling: Spelling, value: ValueView) -> NodeView | None:
    """The Mul or Div that makes a factor, where it is part of the same product."""
    node = value.producer
    if node is None or node.op_type not in ("Mul", "Div") or not spelling.only(value):
        return None
    if node.op_type == "Div" and spelling.scaling(node) is None:
        return None
    return spelling.made_by(value, "Mul", "Div")


def near(number: float, wanted: float, dtype: npt.DTypeLike) -> bool:
    """Tell whether a number of that type is the wanted one, but for a few roundings."""
    roundings = 1 if dtype == np.float16 else 4
    return abs(number - wanted) <= roundings * float(np.finfo(dtype).eps) * abs(wanted)


def put(match: Spelled, edit: Editor) -> None:
    """Put the one operator in place of the nodes."""
    last = match.nodes[0]
    target = last.outputs[0]
    assert target is not None
    made = edit.insert(
        match.op_type, match.inputs, before=last, attributes=match.attributes, hint=target.name
    )
    edit.adopt(made, 0, target)
    take_away(match.nodes, edit)


def take_away(nodes: Sequence[NodeView], edit: Editor) -> None:
    """Remove nodes that only each other read, whatever their order."""
    left = list(nodes)
    while left:
        idle = [n for n in left if not any(v is not None and v.readers for v in n.outputs)]
        assert idle, "a node is still read"
        for node in idle:
            edit.remove(node)
        left = [node for node in left if node not in idle]


def _raised(base: dict[int, float], exponent: float | None) -> dict[int, float] | None:
    if exponent not in (2.0, 3.0) or len(base) != 1:
        return None
    ((power, factor),) = base.items()
    return {power * int(exponent): factor ** int(exponent)}


def _combined(
    op_type: str, first: dict[int, float], second: dict[int, float]
) -> dict[int, float] | None:
    if op_type == "Add":
        found = {power: first.get(power, 0) + second.get(power, 0) for power in {*first, *second}}
        return found if min(*first.values(), *second.values()) >= 0 else None
    if op_type == "Div":
        divisor = second.get(0)
        if len(second) != 1 or not divisor:
            return None
        return {power: factor / divisor for power, factor in first.items()}
    found = {}
    for one, left in first.items():
        for other, right in second.items():
            found[one + other] = found.get(one + other, 0.0) + left * right
    return found

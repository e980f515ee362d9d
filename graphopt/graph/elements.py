"""The graph's own nodes and values, on onnx-graphsurgeon's linked structure.

graphsurgeon compares nodes by value and tensors by name, so that its lists can remove a twin in
place of the element meant. These classes compare by identity, as plain objects do: in C. Each node
keeps the NodeProto it was read from; an untouched node is written back as that very message.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, NodeProto
from onnx_graphsurgeon.ir.tensor import LazyValues

from graphopt.contract import Dim
from graphopt.model import Model, TensorData
from graphopt.model.nodes import plain_domain


@dataclass(slots=True)
class ValueType:
    """What is known of a value: element type and shape (None: unknown, or not a tensor)."""

    dtype: np.dtype[Any] | None = None
    shape: tuple[Dim, ...] | None = None


class StoredValues(LazyValues):
    """Values of an initializer that stay in the model's file until they are asked for."""

    def __init__(self, data: TensorData) -> None:
        # LazyValues.__init__ would reject the types that graphsurgeon does not know.
        self.data = data
        self.tensor = data.proto
        self.shape = data.shape
        self.dtype = data.dtype

    def load(self) -> np.ndarray[Any, Any]:
        """Read the array."""
        return self.data.array()


class Value(gs.Variable):
    """A value of one scope: an input, an output of a node, or an omitted optional ("")."""

    def __init__(self, name: str, scope: Scope | None) -> None:
        super().__init__(name)
        self.scope = scope
        self.type_known = ValueType()
        self.output_of = 0
        self.is_input = False
        self.default: TensorData | None = None
        self.view: Any = None

    __hash__ = object.__hash__
    __eq__ = object.__eq__


class Weight(gs.Constant):
    """An initializer that nobody can override."""

    def __init__(self, data: TensorData, scope: Scope, rank: int) -> None:
        super().__init__(data.name, StoredValues(data))
        self.data = data
        self.rank = rank
        self.scope = scope
        self.type_known = ValueType(data.dtype, data.shape)
        self.output_of = 0
        self.is_input = False
        self.view: Any = None

    __hash__ = object.__hash__
    __eq__ = object.__eq__


Tensor = Value | Weight
Rank = tuple[int, ...]
"""Compared as tuples: (4,) < (4, 1, 0) < (5,), so that there is always room before a node."""


class Node(gs.Node):
    """A node of one scope.

    Attributes:
        proto: The message it was read from; None for a node made here.
        rank: Where it stands among the nodes of its scope.
        edits: How many recorded edits touch it; 0 means that `proto` is written as it is.
        bodies: Scopes of its graph attributes, by attribute name.
        excluded: True where the user wants the node left alone.
    """

    def __init__(
        self,
        op_type: str,
        scope: Scope,
        *,
        name: str,
        domain: str,
        attributes: dict[str, AttributeProto],
        inputs: list[Tensor],
        outputs: list[Tensor],
        rank: Rank,
        proto: NodeProto | None,
    ) -> None:
        super().__init__(op_type, name, attributes, inputs, outputs, domain)
        self.proto = proto
        self.scope = scope
        self.rank = rank
        self.edits = 0
        self.bodies: dict[str, Scope] = {}
        self.excluded = False
        self.view: Any = None

    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def lacks_operands(self) -> bool:
        """True for a node without the inputs and outputs that its operator cannot do without."""
        inputs, outputs = _least(self.op, self.scope.opsets.get("", 0))
        return len(self.inputs) < inputs or len(self.outputs) < outputs


@cache
def _least(op_type: str, opset: int) -> tuple[int, int]:
    try:
        schema = onnx.defs.get_schema(op_type, opset, "")
    except onnx.defs.SchemaError:
        return 0, 0
    return schema.min_input, schema.min_output


@dataclass(eq=False)
class Scope:
    """One graph: main, a body, or a local function.

    Attributes:
        path: How reports name it: "" for the main graph, else owner and attribute.
        nodes: Nodes as an ordered set; their order is by rank.
        weights: Initializers as an ordered set.
        names: Every value defined here, by name.
        last_rank: The highest rank that an initializer got; None before the first one is made.
    """

    kind: Literal["main", "body", "function"]
    path: str
    model: Model
    opsets: dict[str, int]
    proto: Any
    parent: Scope | None = None
    owner: Node | None = None
    nodes: dict[Node, None] = field(default_factory=dict)
    weights: dict[Weight, None] = field(default_factory=dict)
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    names: dict[str, Tensor] = field(default_factory=dict)
    edits: int = 0
    last_rank: int | None = None
    stores_initializers: bool = True
    view: Any = None

    def next_rank(self) -> int:
        """The rank of a new initializer, behind all others."""
        if self.last_rank is None:
            self.last_rank = max((weight.rank for weight in self.weights), default=-1)
        self.last_rank += 1
        return self.last_rank

    def ordered(self) -> list[Node]:
        """Its nodes by rank."""
        return sorted(self.nodes, key=lambda node: node.rank)

    @property
    def function_id(self) -> tuple[str, str]:
        """Domain and name by which a local function is called; empty for other graphs."""
        if self.kind != "function":
            return "", ""
        return plain_domain(self.proto.domain), str(self.proto.name)

    def top(self) -> Scope:
        """The main graph or function that this scope lies in."""
        return self if self.parent is None else self.parent.top()

    def nested(self) -> list[Scope]:
        """This scope and every body below it, outermost first."""
        found = [self]
        for node in self.ordered():
            for body in node.bodies.values():
                found += body.nested()
        return found

    def look_up(self, name: str) -> Tensor | None:
        """The value that `name` means here: this scope's own, else an enclosing one's."""
        if name in self.names:
            return self.names[name]
        return self.parent.look_up(name) if self.parent else None

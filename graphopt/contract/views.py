"""The read-only views: all that a pass may see of a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from graphopt.contract.effect import Skip

Array = npt.NDArray[Any]
Dim = int | str | None
"""A dimension: its size, the name of a symbolic size, or None where nothing is known."""


@dataclass(frozen=True, slots=True)
class Use:
    """One place where a value is read: input `index` of `node`."""

    node: NodeView
    index: int


class ValueView(Protocol):
    """A tensor (or other value) of the graph, read-only."""

    @property
    def name(self) -> str:
        """Its name, unique within its graph."""
        ...

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """Element type (ml_dtypes for types numpy lacks), None when unknown or not a tensor."""
        ...

    @property
    def shape(self) -> tuple[Dim, ...] | None:
        """Shape, None when not even the rank is known."""
        ...

    @property
    def producer(self) -> NodeView | None:
        """The node that writes it; None for inputs and initializers."""
        ...

    @property
    def readers(self) -> Sequence[Use]:
        """Every place that reads it, those in nested bodies included."""
        ...

    @property
    def graph(self) -> GraphView:
        """The graph that defines it."""
        ...

    @property
    def is_graph_input(self) -> bool:
        """True for an input of its graph, with or without a default."""
        ...

    @property
    def is_graph_output(self) -> bool:
        """True when a graph gives it back as an output."""
        ...

    @property
    def is_constant(self) -> bool:
        """True for an initializer nobody can override, and for the output of a Constant node."""
        ...

    @property
    def is_initializer(self) -> bool:
        """True for a constant that the graph stores as an initializer."""
        ...

    @property
    def nbytes(self) -> int | None:
        """Bytes of a constant as stored; None for other values."""
        ...

    def array(self) -> Array:
        """The values of a constant, shape `shape`, dtype `dtype`; treat it as read-only."""
        ...

    def digest(self) -> bytes:
        """SHA-256 over dtype, shape and bytes of a constant, read block by block."""
        ...

    def label(self) -> str:
        """Its name, after the path of its graph unless that is the main one."""
        ...

    def replaceable_by(self, other: ValueView) -> Skip | None:
        """Why the editor would refuse `replace(self, other)`; None where it would not."""
        ...


class NodeView(Protocol):
    """A node, read-only."""

    @property
    def op_type(self) -> str:
        """Operator name."""
        ...

    @property
    def domain(self) -> str:
        """Operator domain; the standard one is the empty string."""
        ...

    @property
    def name(self) -> str:
        """The node's own name, possibly empty and not unique."""
        ...

    @property
    def inputs(self) -> Sequence[ValueView | None]:
        """Inputs; None where an optional one is left out."""
        ...

    @property
    def outputs(self) -> Sequence[ValueView | None]:
        """Outputs; None where an optional one is left out."""
        ...

    @property
    def graph(self) -> GraphView:
        """The graph it stands in."""
        ...

    @property
    def bodies(self) -> Mapping[str, GraphView]:
        """Graphs in its attributes (If, Loop, Scan), by attribute name."""
        ...

    @property
    def is_opaque(self) -> bool:
        """True for what passes leave alone.

        Another domain, attributes without plain values, fewer inputs or outputs than its operator
        must have, or a node that the user excluded. The constants that it reads keep their values.
        """
        ...

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes that hold plain values: numbers, strings, arrays for tensors, lists."""
        ...

    def attribute(self, name: str, default: Any = None) -> Any:
        """One attribute's value, or `default` where the node does not carry it."""
        ...

    def to_proto(self) -> Any:
        """A copy as onnx.NodeProto, its bodies as they were read."""
        ...

    def label(self) -> str:
        """How reports and errors name it: `OpType name` or `OpType -> first output`."""
        ...


class GraphView(Protocol):
    """The main graph, a body of If, Loop or Scan, or a local function, read-only."""

    @property
    def kind(self) -> Literal["main", "body", "function"]:
        """Which of the three it is."""
        ...

    @property
    def path(self) -> str:
        """Empty for the main graph; else where it is: the function, the owners' outputs."""
        ...

    @property
    def nodes(self) -> Sequence[NodeView]:
        """A snapshot of its nodes in their order; bodies are not included."""
        ...

    @property
    def inputs(self) -> Sequence[ValueView]:
        """Graph inputs in their order."""
        ...

    @property
    def outputs(self) -> Sequence[ValueView]:
        """Graph outputs in their order."""
        ...

    @property
    def initializers(self) -> Sequence[ValueView]:
        """Initializers that nobody can override."""
        ...

    @property
    def stores_initializers(self) -> bool:
        """False where new constants must be Constant nodes: functions, and IR versions below 4."""
        ...

    def opset(self, domain: str = "") -> int:
        """The opset version imported for `domain`; 0 where it is not imported."""
        ...

    def calls(self) -> Sequence[NodeView] | Skip | None:
        """The calls of this local function; None for what is none, or has been removed.

        Skip where the function cannot be inlined and removed, and says why.
        """
        ...

    def nested(self) -> Sequence[GraphView]:
        """This graph and every body below it, outermost first."""
        ...

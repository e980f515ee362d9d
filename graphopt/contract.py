"""What a pass is, and what it may see and touch.

This module imports nothing of graphopt and no graph library: a third party writes a pass against
it alone. Reading goes through the views, writing through the editor, and nothing else reaches the
graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Dim = int | str | None
"""A dimension: its size, the name of a symbolic size, or None where nothing is known."""


class Effect(StrEnum):
    """What a rewrite may do to a model's answers."""

    IDENTICAL = "identical"
    """Equal bits."""
    ROUNDING = "rounding"
    """The same mathematics, in another order or with a constant in another precision."""
    LOSSY = "lossy"
    """Values change on purpose; the loss is measured and reported."""

    def within(self, bound: Effect) -> bool:
        """Tell whether this effect changes no more than `bound` allows."""
        order = list(Effect)
        return order.index(self) <= order.index(bound)


@dataclass(frozen=True, slots=True)
class Skip:
    """A refusal and its reason, as data: reports count them ("conv output has 2 readers")."""

    reason: str


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
        """True for what passes leave alone: another domain, or attributes without plain values."""
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

    def nested(self) -> Sequence[GraphView]:
        """This graph and every body below it, outermost first."""
        ...


class Editor(Protocol):
    """The one writer. Every call is recorded, so that a rewrite can be undone."""

    def constant(self, array: Array, hint: str, graph: GraphView) -> ValueView:
        """Store `array` as a new constant of `graph` under a fresh name made from `hint`."""
        ...

    def insert(
        self,
        op_type: str,
        inputs: Sequence[ValueView | None],
        *,
        before: NodeView,
        outputs: int = 1,
        attributes: Mapping[str, Any] | None = None,
        domain: str = "",
        hint: str = "",
    ) -> NodeView:
        """Insert a new node before another one; its outputs get fresh names and inferred types."""
        ...

    def set_input(self, node: NodeView, index: int, value: ValueView | None) -> None:
        """Let input `index` of `node` read `value`, lengthening the inputs where needed."""
        ...

    def set_attribute(self, node: NodeView, name: str, value: Any) -> None:
        """Set an attribute; None removes it."""
        ...

    def replace(self, old: ValueView, new: ValueView) -> None:
        """Let every reader of `old` read `new`, which has the same content.

        A graph output keeps its name.
        """
        ...

    def adopt(self, node: NodeView, index: int, value: ValueView) -> None:
        """Let output `index` of `node` be `value`, whose producer gives it up.

        For a rewrite after which `node` computes what another node computed: the name keeps its
        meaning, and the former output, which only that other node may read, goes away.
        """
        ...

    def remove(self, node: NodeView) -> None:
        """Remove a node; refuses while anything reads one of its outputs."""
        ...

    def remove_initializer(self, value: ValueView) -> None:
        """Remove an initializer; refuses while anything reads it."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """What the result is meant to run on."""

    provider: Literal["cpu", "cuda"] = "cpu"
    vnni: bool = False
    contrib_ops: bool = False


class Evaluator(Protocol):
    """Runs one node on given inputs, somewhere that may crash without harm."""

    def __call__(self, node: NodeView, inputs: Sequence[Array | None]) -> Sequence[Array] | Skip:
        """Give the node's outputs, or say why they could not be had."""
        ...


def _no_evaluator(node: NodeView, inputs: Sequence[Array | None]) -> Skip:
    return Skip("no evaluator in this run")


@dataclass(frozen=True, slots=True)
class Context:
    """What the engine gives to a pass beside the graph."""

    target: Target = field(default_factory=Target)
    seed: int = 0
    evaluate_node: Evaluator = _no_evaluator
    main: GraphView | None = None


@runtime_checkable
class Match(Protocol):
    """What `match` found: any frozen dataclass that states the effect of this one rewrite."""

    @property
    def effect(self) -> Effect:
        """The effect of rewriting this match, within the pass's declared bound."""
        ...


M = TypeVar("M", bound=Match)


class Pass(Protocol[M]):
    """A local rewrite. Concrete passes are frozen dataclasses; the fields are the configuration."""

    name: ClassVar[str]
    effect: ClassVar[Effect]
    roots: ClassVar[tuple[str, ...]]

    def match(self, node: NodeView, graph: GraphView, context: Context) -> M | Skip | None:
        """Look at one root node; None where the pattern is not there at all, Skip to refuse it."""
        ...

    def rewrite(self, match: M, edit: Editor) -> None:
        """Apply a match, through the editor alone."""
        ...


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One step of a whole-graph pass: applied, undone, counted and bisected by itself."""

    root: str
    effect: Effect
    apply: Callable[[Editor], None]


class GraphPass(Protocol):
    """A pass that plans over the whole graph, one rewrite at a time."""

    name: ClassVar[str]
    effect: ClassVar[Effect]

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Say what to do, lazily: each rewrite is applied before the next one is asked for."""
        ...


AnyPass = Pass[Any] | GraphPass

"""The two kinds of passes, and what the engine gives them beside the graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

from graphopt.contract.editor import Editor
from graphopt.contract.effect import Effect, Skip
from graphopt.contract.views import Array, GraphView, NodeView


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


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context:
    """What the engine gives to a pass beside the graph.

    Attributes:
        target: What the result is meant to run on.
        seed: Of everything random.
        evaluate_node: Computes constants.
        revision: Tells a number that is another one after every edit of the model.
    """

    target: Target = field(default_factory=Target)
    seed: int = 0
    evaluate_node: Evaluator = _no_evaluator
    revision: Callable[[], int] = field(default_factory=lambda: count().__next__)
    _made: dict[Hashable, tuple[int, Any]] = field(default_factory=dict, init=False, repr=False)

    def until_edited(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made anew only after an edit: what several passes learn of a graph.

        Args:
            key: Names it; whoever asks with the same key gets the same.
            make: Works it out.
        """
        revision, found = self._made.get(key, (None, None))
        if revision != self.revision():
            found = make()
            self._made[key] = self.revision(), found
        return found  # type: ignore[return-value]


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
    """One step of a whole-graph pass: applied, undone, counted and bisected by itself.

    Attributes:
        root: What names the step in reports and across undoing: a value's `label()`.
        effect: What the step may do to the answers.
        apply: Makes it, through the editor alone.
    """

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

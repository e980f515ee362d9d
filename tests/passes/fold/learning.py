"""What a pass has learnt of a graph, held against what the graph really computes.

A World is one choice of numbers for the symbols. Those of the graph's inputs are given; what a
rule named itself (a rounded quotient, a dimension that nobody knows) takes the number that it
first stands for, and must stand for no other one afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onnx import ModelProto, ValueInfoProto

from graphopt.contract import Context, ValueView
from graphopt.graph.views import graph_view
from graphopt.passes.fold._facts import Facts, walk
from graphopt.passes.fold._learnt import learnt
from graphopt.passes.fold._sizes import Size, Symbol, size, symbol
from tests.build import build
from tests.passes.support import Array, Feeds, answers, random_feeds

Sizes = Mapping[str, int]


class World:
    """Numbers for symbols."""

    def __init__(self, known: Mapping[Symbol, int]) -> None:
        self.known = dict(known)

    def value(self, found: Size) -> int:
        """What a size is here."""
        total = 0
        for monomial, factor in found.terms:
            for item in monomial:
                factor *= self.known[item]
            total += factor
        return total

    def holds(self, found: Size, number: int) -> None:
        """Assert that a size is this number here; a symbol of its own may still choose."""
        missing = {item for monomial, _ in found.terms for item in monomial} - set(self.known)
        if missing:
            (new,) = missing  # one at a time: rules name what they cannot tell as they go
            self._choose(new, found, number)
        assert self.value(found) == number, f"{found} is {self.value(found)}, not {number}"

    def _choose(self, new: Symbol, found: Size, number: int) -> None:
        (((monomial, factor),)) = [term for term in found.terms if new in term[0]]
        others = list(monomial)
        others.remove(new)
        scale = self.value(Size(((tuple(others), factor),)))
        rest = number - self.value(Size(tuple(t for t in found.terms if new not in t[0])))
        assert scale, f"{found} leaves open what {new.name} is"
        assert rest % scale == 0, f"{found} cannot be {number}"
        self.known[new] = rest // scale
        assert rest // scale >= 0 or not new.nonnegative, f"{new.name} is {rest // scale}"


class Learnt:
    """What a pass learns of a model's main graph before it runs."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        program = build(model)
        graph = graph_view(program.main, program)
        nodes = walk(graph)
        self.facts: Facts = learnt(graph, nodes, Context())
        self.values: dict[str, ValueView] = {value.name: value for value in graph.inputs}
        for node in graph.nodes:
            self.values.update((v.name, v) for v in node.outputs if v is not None)

    def dims(self, name: str) -> tuple[Size, ...] | None:
        """Dimensions of a value."""
        return self.facts.dims(self.values[name])

    def content(self, name: str) -> list[Size] | None:
        """Elements of a value, in their order."""
        found = self.facts.content(self.values[name])
        return None if found is None else list(found.ravel())

    def holds(self, worlds: Iterable[Sizes], *, reference: bool = False) -> None:
        """Assert that all of it is true of every value, for each choice of the open dimensions."""
        for seed, sizes in enumerate(worlds):
            feeds = random_feeds(self.model, seed, sizes)
            self.true_of(feeds, sizes, reference=reference)

    def true_of(self, feeds: Feeds, sizes: Sizes, *, reference: bool = False) -> None:
        """Assert that all of it is true of every value, with these inputs."""
        known = {symbol(name).terms[0][0][0]: number for name, number in sizes.items()}
        world = World(known)
        for name, array in real(self.model, feeds, reference=reference).items():
            dims, content = self.dims(name), self.facts.content(self.values[name])
            if dims is not None:
                assert len(dims) == array.ndim, name
                for dim, length in zip(dims, array.shape, strict=True):
                    world.holds(dim, length)
            if content is not None:
                assert content.shape == array.shape, name
                for entry, number in zip(content.ravel(), array.ravel(), strict=True):
                    world.holds(entry, int(number))


def real(model: ModelProto, feeds: Feeds, *, reference: bool = False) -> dict[str, Array]:
    """Every value that the nodes of the main graph compute, in their order."""
    shown = ModelProto.FromString(model.SerializeToString())
    names = [name for node in model.graph.node for name in node.output if name]
    infos = {info.name: info for info in model.graph.output}
    del shown.graph.output[:]
    shown.graph.output.extend(infos.get(name, ValueInfoProto(name=name)) for name in names)
    return dict(zip(names, answers(shown, feeds, reference=reference), strict=True))


def sizes_of(text: str, names: Iterable[str]) -> tuple[Size, ...]:
    """Sizes written as arithmetic over names, which come first: `N, C * 2 + 1`."""
    known = {name: symbol(name) for name in names}
    entries = [eval(entry, {}, known) for entry in text.split(",") if entry.strip()]
    return tuple(size(entry) if isinstance(entry, int) else entry for entry in entries)

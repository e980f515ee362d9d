"""Forms held against what a graph really computes, element by element, for choices of sizes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import ModelProto

from graphopt.contract import Context, ValueView
from graphopt.graph.views import graph_view
from graphopt.passes.fold._facts import walk
from graphopt.passes.fold._forms import coordinate
from graphopt.passes.fold._grid_rules import RULES
from graphopt.passes.fold._grids import Grids, learn_grids
from graphopt.passes.fold._sizes import Size, Symbol, symbol
from tests.build import build
from tests.passes.fold.learning import Sizes, World, real
from tests.passes.support import Array, random_feeds

PLACES = {coordinate(place).terms[0][0][0]: place for place in range(8)}


class Gridded:
    """What is learnt of the forms in a model's main graph before it runs."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        program = build(model)
        graph = graph_view(program.main, program)
        self.grids: Grids = learn_grids(graph, walk(graph), RULES, Context())
        self.values: dict[str, ValueView] = {
            value.name: value for value in (*graph.inputs, *graph.initializers)
        }
        for node in graph.nodes:
            self.values.update((v.name, v) for v in node.outputs if v is not None)

    def parts(self, name: str) -> list[str] | None:
        """Forms of a value as text."""
        found = self.grids.parts(self.values[name])
        return None if found is None else [str(form) for form in found]

    def holds(self, worlds: Iterable[Sizes]) -> int:
        """Assert that every form is true in each world; give how many were looked at."""
        looked = 0
        for seed, sizes in enumerate(worlds):
            world = World({symbol(n).terms[0][0][0]: number for n, number in sizes.items()})
            for name, array in real(self.model, random_feeds(self.model, seed, sizes)).items():
                value = self.values[name]
                for dim, length in zip(self.grids.dims(value) or (), array.shape, strict=False):
                    world.holds(dim, length)
                parts = self.grids.parts(value)
                if parts is not None:
                    looked += 1
                    check(parts, array, world.known, name)
        return looked


def typed(model: ModelProto) -> ModelProto:
    """Give the outputs the types and ranks that inference finds; the text has named them only."""
    inferred = onnx.shape_inference.infer_shapes(model)
    for output, found in zip(model.graph.output, inferred.graph.output, strict=True):
        if output.type.tensor_type.elem_type:
            continue
        output.type.CopyFrom(found.type)
        for dim in output.type.tensor_type.shape.dim:
            dim.Clear()
    return model


def check(parts: tuple[Size, ...], array: Array, known: dict[Symbol, int], name: str) -> None:
    """Assert that an array's elements are what their forms say."""
    assert len(parts) == 1 or array.shape[-1] == len(parts), name
    for index, form in enumerate(parts):
        seen = array if len(parts) == 1 else array[..., index : index + 1]
        np.testing.assert_array_equal(seen, evaluated(form, seen.shape, known), f"{name}: {form}")


def evaluated(form: Size, shape: tuple[int, ...], known: dict[Symbol, int]) -> Array:
    """A form at every element of a shape."""
    grid = np.indices(shape) if shape else np.zeros((0,))
    total = np.zeros(shape, dtype=np.int64)
    for monomial, factor in form.terms:
        term = np.full(shape, factor, dtype=np.int64)
        for item in monomial:
            place = PLACES.get(item)
            term *= known[item] if place is None else grid[len(shape) - 1 - place]
        total += term
    return total

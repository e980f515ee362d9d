"""Verification of a model too large to run: what changed, region by region, on random inputs.

A region is a set of changed nodes that hang together by values which only the candidate has. Its
results keep the names that they have in the original, so that the nodes which compute the same
names there, from the same values, are its counterpart; both run as small models of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper

from graphopt.graph.elements import ValueType
from graphopt.graph.shapes import bind_inputs
from graphopt.model import Model
from graphopt.model.tensor import element_type
from graphopt.report import Check
from graphopt.verify.inputs import Feeds, InputSpec, input_specs, make_feeds, size_plans
from graphopt.verify.numeric import Outputs, compare_outputs
from graphopt.verify.regions import Region, Wiring, find_regions

INPUT_SETS = 2
_LEVELS = 4
"""How many producers upwards a region may grow until its counterpart needs nothing else."""

Run = Callable[[Model, Sequence[Feeds], list[str]], list[Outputs]]
Types = dict[str, ValueType]


@dataclass(frozen=True, slots=True)
class Pair:
    """A region's nodes in both models, and the values that both start from."""

    old: list[NodeProto]
    new: list[NodeProto]
    inputs: list[str]


def check_layers(before: Model, after: Model, *, seed: int, limit: int, run: Run) -> Check:
    """Compare two models region by region.

    Args:
        before: The original.
        after: The candidate.
        seed: Seed of the random inputs.
        limit: Bytes of weights that a region may have; its two sides run one after the other.
        run: Runs a model on input sets and gives the named outputs.

    Returns:
        One row: failed when a region differs, not verified when one could not be compared.
    """
    old, new = Wiring.of(before), Wiring.of(after)
    types = _types(before, after)
    regions = find_regions(before, after)
    agreed = 0
    unable = ""
    for number, region in enumerate(regions):
        found = _check_region(region, old, new, types, seed + number, limit, run)
        if found.status == "failed":
            return found
        agreed += found.status == "ok"
        unable = unable or (found.detail if found.status != "ok" else "")
    detail = f"{agreed} of {len(regions)} changed regions agree"
    if unable:
        return Check("layers", "not verified", f"{detail}; {unable}")
    return Check("layers", "ok", detail)


def _check_region(
    region: Region, old: Wiring, new: Wiring, types: Types, seed: int, limit: int, run: Run
) -> Check:
    name = region.results[0]
    pair = _pair(region, old, new)
    if pair is None:
        return Check(name, "not verified", f"{name}: nothing in the original corresponds to it")
    specs = [_spec(value, types) for value in pair.inputs]
    if any(spec is None for spec in specs):
        return Check(name, "not verified", f"{name}: the shape of an input is not known")
    pieces = [_piece(old, pair.old, region, specs), _piece(new, pair.new, region, specs)]
    if max(piece.weight_bytes for piece in pieces) > limit:
        return Check(name, "not verified", f"{name}: its weights exceed the verification limit")
    feeds = _feeds(specs, seed)
    results = list(region.results)
    first, second = (run(piece, feeds, results) for piece in pieces)
    rows = compare_outputs(first, second, [], exact=False, constant=frozenset(results))
    return next((row for row in rows if row.status == "failed"), rows[0])


def _pair(region: Region, old: Wiring, new: Wiring) -> Pair | None:
    """Find the original's counterpart; the region grows upwards until it has one."""
    nodes = list(region.nodes)
    for _ in range(_LEVELS):
        nodes = new.with_constants(nodes)
        inputs = new.reads_from_outside(nodes)
        counterpart, missing = old.needed(region.results, set(inputs))
        if not missing:
            return Pair(counterpart, nodes, inputs)
        above = [new.producers[name] for name in inputs if name in new.producers]
        if not above:
            break
        nodes = new.in_order([*nodes, *above])
    return None


def _types(before: Model, after: Model) -> Types:
    """Types at the first sizes tried for open dimensions."""
    specs = input_specs(before.proto)
    made = make_feeds(specs, next(size_plans(0)), seed=0) or {}
    shapes = {name: tuple(value.shape) for name, value in made.items() if hasattr(value, "shape")}
    return {**bind_inputs(after.proto, shapes), **bind_inputs(before.proto, shapes)}


def _spec(name: str, types: Types) -> InputSpec | None:
    known = types.get(name, ValueType())
    if known.dtype is None or known.shape is None:
        return None
    sizes = [dim for dim in known.shape if isinstance(dim, int)]
    if len(sizes) != len(known.shape) or math.prod(sizes) > 1 << 26:
        return None
    return InputSpec(name, known.dtype, tuple(sizes), below=2)


def _piece(
    wiring: Wiring, nodes: list[NodeProto], region: Region, specs: Iterable[InputSpec | None]
) -> Model:
    graph = GraphProto(name="region")
    graph.node.extend(nodes)
    read = set(wiring.reads_from_outside(nodes, constants=True))
    graph.initializer.extend(t for t in wiring.model.proto.graph.initializer if t.name in read)
    for spec in specs:
        assert spec is not None
        assert spec.dtype is not None
        info = helper.make_tensor_value_info(spec.name, element_type(spec.dtype), spec.shape)
        graph.input.append(info)
    graph.output.extend(ValueInfoProto(name=name) for name in region.results)
    source = wiring.model.proto
    proto = ModelProto(ir_version=source.ir_version, graph=graph)
    proto.opset_import.extend(source.opset_import)
    proto.functions.extend(source.functions)
    return wiring.model.with_proto(proto)


def _feeds(specs: Sequence[InputSpec | None], seed: int) -> list[Feeds]:
    known = [spec for spec in specs if spec is not None]
    plan = next(size_plans(0))
    made = (make_feeds(known, plan, seed * INPUT_SETS + k) for k in range(INPUT_SETS))
    return [feeds for feeds in made if feeds is not None]

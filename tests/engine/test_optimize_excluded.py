"""What the user excluded stays as it was, whatever a pass would do with it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

import graphopt
from graphopt.engine import OptimizeOptions, OptimizeResult, load_recipe, make_pass, optimize_model
from graphopt.engine.recipe import PassSpec, recipe_of
from graphopt.engine.registry import available
from graphopt.model import load_model
from models.fetch import fetch
from tests.build import Array, parse
from tests.passes.situations import SITUATIONS

PASSES = sorted(name for name, entry in available().items() if entry.distribution == "graphopt")
OPTIONS = {"quantize_weights": {"min_elements": 1}}
"""What lets a pass do something to small models."""

TEXT = "g (float[N] x) => (float[N] y) { t = Identity(x)\n u = Identity(t)\n y = Relu(u) }"


def graphs(model: ModelProto) -> Iterator[tuple[Iterable[NodeProto], dict[str, Array]]]:
    """The nodes of every graph there is, and the constants that they see."""

    def walk(
        nodes: Iterable[NodeProto], graph: GraphProto | None, outer: dict[str, Array]
    ) -> Iterator[tuple[Iterable[NodeProto], dict[str, Array]]]:
        seen = dict(outer)
        for tensor in graph.initializer if graph is not None else ():
            seen[tensor.name] = numpy_helper.to_array(tensor)
        for node in nodes:
            if node.op_type == "Constant" and node.attribute[0].HasField("t"):
                seen[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        yield nodes, seen
        for node in nodes:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    yield from walk(attribute.g.node, attribute.g, seen)

    yield from walk(model.graph.node, model.graph, {})
    for function in model.functions:
        yield from walk(function.node, None, {})


def name_nodes(model: ModelProto) -> list[str]:
    """Give every node a name of its own; give the names."""
    names: list[str] = []
    for nodes, _ in graphs(model):
        for node in nodes:
            node.name = f"node{len(names)}"
            names.append(node.name)
    return names


@dataclass(frozen=True)
class Kept:
    """What must not change of a node: operator, attributes, constant inputs by position."""

    op_type: str
    attributes: list[bytes]
    inputs: int
    constants: dict[int, bytes]


def kept(model: ModelProto, names: Iterable[str]) -> dict[str, Kept]:
    wanted = set(names)
    return {
        node.name: Kept(
            node.op_type,
            [a.SerializeToString() for a in node.attribute if not a.HasField("g")],
            len(node.input),
            {i: seen[v].tobytes() for i, v in enumerate(node.input) if v in seen},
        )
        for nodes, seen in graphs(model)
        for node in nodes
        if node.name in wanted
    }


def changed(before: ModelProto, after: ModelProto, names: Iterable[str]) -> list[str]:
    """Which of the nodes named are gone or changed; others of their inputs may be constant now."""
    olds, news = kept(before, names), kept(after, names)
    assert olds.keys() == set(names)
    return [
        name
        for name, old in olds.items()
        if (new := news.get(name)) is None
        or (old.op_type, old.attributes, old.inputs) != (new.op_type, new.attributes, new.inputs)
        or not old.constants.items() <= new.constants.items()
    ]


def excluding(model: ModelProto, names: list[str], passes: list[str]) -> OptimizeResult:
    recipe = recipe_of(PassSpec.of(make_pass(name, OPTIONS.get(name, {}))) for name in passes)
    options = OptimizeOptions(verify=False, exclude_nodes=names)
    return optimize_model(load_model(model), recipe, options)


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_pass_leaves_excluded_nodes_alone(name: str, situation: str) -> None:
    """A node at a time where the pass does something, and a half of them together."""
    model = SITUATIONS[situation]()
    names = name_nodes(model)
    free = excluding(model, [], [name])
    if not free.report.changed:
        return
    gone = changed(model, free.model.proto, names)
    draw = random.Random(f"{name} {situation}")
    halves = [draw.sample(names, len(names) // 2) for _ in range(2)]
    for chosen in [*([node] for node in gone[:4]), *halves]:
        result = excluding(model, chosen, [name])
        assert changed(model, result.model.proto, chosen) == []
        assert result.report.left_out == [], "a pass skips what is excluded; it does not try"


def test_all_passes_together_leave_excluded_nodes_alone() -> None:
    for situation, build in SITUATIONS.items():
        model = build()
        names = name_nodes(model)
        chosen = random.Random(situation).sample(names, len(names) // 3)
        result = excluding(model, chosen, PASSES)
        assert changed(model, result.model.proto, chosen) == [], situation
        assert result.report.left_out == [], situation


def test_everything_excluded_changes_no_node() -> None:
    for situation, build in SITUATIONS.items():
        model = build()
        names = name_nodes(model)
        result = excluding(model, ["*"], PASSES)
        assert changed(model, result.model.proto, names) == [], situation


@pytest.mark.parametrize(("recipe", "share"), [("exact", 0.3), ("small", 0.1)])
@pytest.mark.parametrize("name", ["resnet_20", "silero_vad", "ppocr_rec"])
def test_real_models(name: str, recipe: str, share: float) -> None:
    source = load_model(fetch(name))
    names = name_nodes(source.proto)
    chosen = random.Random(name).sample(names, int(len(names) * share))
    options = OptimizeOptions(exclude_nodes=chosen)
    result = optimize_model(source, load_recipe(recipe), options)
    assert (result.report.status, result.report.left_out) == ("verified", [])
    assert result.report.changed
    assert changed(source.proto, result.model.proto, chosen) == []
    assert len(result.report.excluded) == len(chosen)


def test_report_names_what_was_left_alone() -> None:
    report = graphopt.optimize(parse(TEXT), exclude_nodes=["u"]).report
    assert report.excluded == ("Identity -> u",)
    assert report.rewrites()["eliminate_identity"] == 1
    assert report.after.ops == {"Identity": 1, "Relu": 1}


def test_an_excluded_node_that_nobody_reads_stays() -> None:
    model = parse(TEXT.replace("y = Relu(u)", "v = Neg(u)\n y = Relu(u)"))
    for patterns, left in ((["v"], ["Neg", "Relu"]), ([], ["Relu"])):
        result = graphopt.optimize(model, exclude_nodes=patterns)
        assert [node.op_type for node in result.model.proto.graph.node] == left


def test_names_after_the_opset_was_raised() -> None:
    """What is excluded is left alone by passes; raising the opset is another wish."""
    text = """<ir_version: 8, opset_import: ["": 11]>
    g (float[N, 3] x) => (float[N, 3] y) { t = Identity(x)\n y = Softmax(t) }"""
    result = graphopt.optimize(parse(text), opset=13, exclude_nodes=["t"])
    assert result.report.after.ops["Identity"] == 1
    assert np.all([entry.version == 13 for entry in result.model.proto.opset_import])

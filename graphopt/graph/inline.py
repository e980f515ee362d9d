"""Inlining local functions with onnx's inliner, weights left where they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import count

from onnx import GraphProto, ModelProto, NodeProto, helper

from graphopt.errors import ModelError, RuntimeFailure
from graphopt.graph.light import LightCopy, lighten, stub_number
from graphopt.graph.naming import settle_names
from graphopt.model import Model
from graphopt.model.messages import copy_but
from graphopt.model.names import model_names
from graphopt.model.nodes import nodes_within, plain_domain
from graphopt.runtime.inference import inline

MAX_NODES = 1 << 20
"""Functions that call others twice each, level by level, stand for any number of nodes."""


def inline_functions(model: Model) -> Model:
    """A model without local functions: every call is replaced by what it stands for.

    Nested calls, and calls inside bodies, are inlined too. A large constant that a function holds
    becomes one initializer, however often the function is called.

    Returns:
        The very model given when it has no functions.

    Raises:
        ModelError: A function cannot be inlined; the reason is onnx's.
    """
    if not model.proto.functions:
        return model
    try:
        size = _size_inlined(model.proto)
    except RecursionError as error:
        raise ModelError("its functions nest too deep", file=model.path) from error
    if size > MAX_NODES:
        raise ModelError(f"its functions stand for {size:.3g} nodes", file=model.path)
    light = lighten(model)
    try:
        inlined = inline(light.proto)
    except RuntimeFailure as error:
        raise ModelError(
            f"its functions cannot be inlined: {error.message[:200]}", file=model.path
        ) from error
    if inlined.functions:
        left = inlined.functions[0]
        opsets = ", ".join(f"{e.domain or 'ai.onnx'} {e.version}" for e in left.opset_import)
        raise ModelError(
            f"its function {left.domain}::{left.name} cannot be inlined: it needs {opsets}",
            file=model.path,
        )
    graph = inlined.graph
    settle_names(graph, light.proto.graph)
    _share_repeated(graph)
    light.restore(graph)
    return model.with_proto(_result(light, graph))


def _size_inlined(proto: ModelProto) -> int:
    """How many nodes the main graph has once every call is replaced; recursion counts once."""
    functions = {(f.domain, f.name, f.overload): f for f in proto.functions}
    sizes: dict[tuple[str, str, str], int] = {}

    def size_of(nodes: Iterable[NodeProto]) -> int:
        total = 0
        for node in nodes_within(nodes):
            key = (node.domain, node.op_type, node.overload)
            if key in functions and key not in sizes:
                sizes[key] = 1
                sizes[key] = size_of(functions[key].node)
            total += sizes.get(key, 1)
        return total

    return size_of(proto.graph.node)


def _result(light: LightCopy, graph: GraphProto) -> ModelProto:
    source = light.model.proto
    result = ModelProto()
    copy_but(result, source, {"graph", "functions", "opset_import"})
    declared = {info.name for info in source.graph.value_info}
    copy_but(result.graph, graph, {"value_info"})
    result.graph.value_info.extend(i for i in graph.value_info if i.name in declared)
    versions = {plain_domain(e.domain): e.version for e in source.opset_import}
    for function in source.functions:
        for entry in function.opset_import:
            versions.setdefault(plain_domain(entry.domain), entry.version)
    used = {plain_domain(node.domain) for node in nodes_within(graph.node)}
    own = {function.domain for function in source.functions}
    for domain, version in versions.items():
        if domain in used or domain not in own:
            result.opset_import.add(domain=domain, version=version)
    return result


def _share_repeated(graph: GraphProto) -> None:
    """Keep one of the copies of a function's large constant, as an initializer."""
    holders = [
        (node, number)
        for node in nodes_within(graph.node)
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t")
        and (number := stub_number(node.attribute[0].t)) is not None
    ]  # fmt: skip
    counts = Counter(number for _, number in holders)
    taken = set(model_names(ModelProto(graph=graph)))
    shared: dict[int, str] = {}
    for node, number in holders:
        if counts[number] == 1:
            continue
        if number not in shared:
            shared[number] = next(n for k in count() if (n := f"{node.output[0]}_{k}") not in taken)
            taken.add(shared[number])
            tensor = graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = shared[number]
        node.CopyFrom(helper.make_node("Identity", [shared[number]], list(node.output)))

"""From linked scopes back to protobuf: what was not touched is written as it was read."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from graphopt.errors import EditRefused
from graphopt.graph.elements import Node, Scope, Tensor
from graphopt.graph.program import Program
from graphopt.graph.skeleton import is_small
from graphopt.model import Model
from graphopt.model.messages import copy_but


def export_types(program: Program) -> ModelProto:
    """The graph as it stands, large initializers reduced to name, type and shape."""
    return _model(program, rebuild=False, light=True)


def export_program(program: Program, *, rebuild: bool = False) -> Model:
    """Make a model of the graph as it stands.

    Args:
        program: The graph.
        rebuild: Write scopes anew even where nothing was edited (a round trip proves them equal).

    Returns:
        The very model it was built from when nothing was edited.

    Raises:
        EditRefused: The edits made a cycle.
    """
    if not rebuild and not any(top.edits for top in program.tops):
        return program.model
    return program.model.with_proto(_model(program, rebuild=rebuild, light=False))


def _model(program: Program, *, rebuild: bool, light: bool) -> ModelProto:
    source = program.model.proto
    result = ModelProto()
    copy_but(result, source, {"graph", "functions"})
    result.graph.CopyFrom(_graph(program.main, rebuild=rebuild, light=light))
    result.functions.extend(_function(scope, rebuild=rebuild) for scope in program.functions)
    return result


def _graph(scope: Scope, *, rebuild: bool, light: bool = False) -> GraphProto:
    source: GraphProto = scope.proto
    if not rebuild and not scope.edits and not light:
        return source
    result = GraphProto()
    copy_but(result, source, {"node", "initializer", "value_info", "quantization_annotation"})
    kept_defaults = {v.name for v in scope.inputs if getattr(v, "default", None) is not None}
    standing = {weight.name: weight for weight in scope.weights}
    for tensor in source.initializer:
        if tensor.name in kept_defaults or tensor.name in standing:
            result.initializer.append(_stub(tensor) if light else tensor)
            standing.pop(tensor.name, None)
    for weight in sorted(standing.values(), key=lambda weight: weight.rank):
        tensor = weight.data.proto
        result.initializer.append(_stub(tensor) if light else tensor)
    result.node.extend(_node(node, rebuild=rebuild) for node in sorted_nodes(scope))
    result.value_info.extend(_surviving(source.value_info, source, scope))
    result.quantization_annotation.extend(
        note for note in source.quantization_annotation if note.tensor_name in scope.names
    )
    return result


def _stub(tensor: TensorProto) -> TensorProto:
    if is_small(tensor):
        return tensor
    return TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)


def _function(scope: Scope, *, rebuild: bool) -> FunctionProto:
    source: FunctionProto = scope.proto
    if not rebuild and not scope.edits:
        return source
    result = FunctionProto()
    copy_but(result, source, {"node", "value_info"})
    result.node.extend(_node(node, rebuild=rebuild) for node in sorted_nodes(scope))
    result.value_info.extend(_surviving(source.value_info, source, scope))
    return result


def _surviving(
    infos: Iterable[ValueInfoProto], source: GraphProto | FunctionProto, scope: Scope
) -> list[ValueInfoProto]:
    """Declared types, but of values that were there and are gone."""
    gone = {name for node in source.node for name in node.output}
    if isinstance(source, GraphProto):
        gone |= {tensor.name for tensor in source.initializer}
    gone -= scope.names.keys()
    return [info for info in infos if info.name not in gone]


def _node(node: Node, *, rebuild: bool) -> NodeProto:
    dirty = any(body.edits for body in node.bodies.values())
    if node.proto is not None and not node.edits and not dirty and not rebuild:
        return node.proto
    result = NodeProto()
    if node.proto is not None:
        copy_but(result, node.proto, {"input", "output", "attribute"})
    else:
        result.op_type, result.domain, result.name = node.op, node.domain, node.name
    result.input.extend(_trimmed(node.inputs, node))
    result.output.extend(value.name for value in node.outputs)
    for name, attribute in node.attrs.items():
        body = node.bodies.get(name)
        if body is not None and (rebuild or body.edits):
            copy = result.attribute.add()
            copy_but(copy, attribute, {"g"})
            copy.g.CopyFrom(_graph(body, rebuild=rebuild))
        else:
            result.attribute.append(attribute)
    return result


def _trimmed(inputs: Iterable[Tensor], node: Node) -> list[str]:
    """Input names; an edited node does not trail omitted optionals."""
    names = [value.name for value in inputs]
    while node.edits and names and not names[-1]:
        names.pop()
    return names


def sorted_nodes(scope: Scope) -> list[Node]:
    """The scope's nodes so that each follows what it reads, otherwise by rank.

    Raises:
        EditRefused: There is a cycle.
    """
    ordered = scope.ordered()
    if not scope.edits:
        return ordered
    position = {node: index for index, node in enumerate(ordered)}
    waits = {node: _producers(node, scope) for node in ordered}
    followers: dict[Node, list[Node]] = {}
    for node, producers in waits.items():
        for producer in producers:
            followers.setdefault(producer, []).append(node)
    ready = [position[node] for node, producers in waits.items() if not producers]
    heapq.heapify(ready)
    result = []
    while ready:
        node = ordered[heapq.heappop(ready)]
        result.append(node)
        for follower in followers.get(node, ()):
            waits[follower].discard(node)
            if not waits[follower]:
                heapq.heappush(ready, position[follower])
    if len(result) != len(ordered):
        stuck = next(node for node in ordered if waits[node])
        raise EditRefused("the graph has a cycle", node=f"{stuck.op} {stuck.name}")
    return result


def _producers(node: Node, scope: Scope) -> set[Node]:
    """Nodes of this scope that a node, or a body inside it, reads from."""
    read = list(node.inputs)
    for body in node.bodies.values():
        for nested in body.nested():
            for inner in nested.nodes:
                read += inner.inputs
            read += nested.outputs
    return {p for value in read for p in value.inputs if p.scope is scope}

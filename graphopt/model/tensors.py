"""Every tensor a model stores, wherever it hides."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto


def model_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Yield each TensorProto of a model: graphs, bodies, attributes, functions, training info."""
    yield from graph_tensors(model.graph)
    for function in model.functions:
        yield from function_tensors(function)
    for training in model.training_info:
        yield from graph_tensors(training.initialization)
        yield from graph_tensors(training.algorithm)


def data_locations(model: ModelProto) -> set[str]:
    """The external data files that a model names, as it names them."""
    return {
        entry.value
        for tensor in model_tensors(model)
        for entry in tensor.external_data
        if entry.key == "location"
    }


def graph_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield each TensorProto of a graph and of the bodies inside it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        yield from node_tensors(node)


def function_tensors(function: FunctionProto) -> Iterator[TensorProto]:
    """Yield each TensorProto in a local function's nodes and default attributes."""
    for node in function.node:
        yield from node_tensors(node)
    for attribute in function.attribute_proto:
        yield from _attribute_tensors(attribute)


def node_tensors(node: NodeProto) -> Iterator[TensorProto]:
    """Yield each TensorProto in a node's attributes, bodies included."""
    for attribute in node.attribute:
        yield from _attribute_tensors(attribute)


def _attribute_tensors(attribute: AttributeProto) -> Iterator[TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    sparse = [*attribute.sparse_tensors]
    if attribute.HasField("sparse_tensor"):
        sparse.append(attribute.sparse_tensor)
    for item in sparse:
        yield item.values
        yield item.indices
    if attribute.HasField("g"):
        yield from graph_tensors(attribute.g)
    for graph in attribute.graphs:
        yield from graph_tensors(graph)

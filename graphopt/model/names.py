"""Every name in a model that means something, as opposed to texts for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto


def model_names(model: ModelProto) -> Iterator[str]:
    """Yield the names of values, nodes, operators, attributes, domains, files and dimensions."""
    yield from (entry.domain for entry in model.opset_import)
    yield from _graph_names(model.graph)
    for function in model.functions:
        yield from _function_names(function)
    for training in model.training_info:
        yield from _graph_names(training.initialization)
        yield from _graph_names(training.algorithm)
        yield from _entries(training.initialization_binding)
        yield from _entries(training.update_binding)


def _graph_names(graph: GraphProto) -> Iterator[str]:
    yield graph.name
    tensors = [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]
    for tensor in tensors:
        yield tensor.name
        yield from _entries(tensor.external_data)
    for info in [*graph.input, *graph.output, *graph.value_info]:
        yield info.name
        yield from (dim.dim_param for dim in info.type.tensor_type.shape.dim)
    for note in graph.quantization_annotation:
        yield note.tensor_name
        yield from _entries(note.quant_parameter_tensor_names)
    for node in graph.node:
        yield from _node_names(node)


def _function_names(function: FunctionProto) -> Iterator[str]:
    yield from (function.name, function.domain, function.overload)
    yield from (entry.domain for entry in function.opset_import)
    yield from (*function.input, *function.output, *function.attribute)
    for node in function.node:
        yield from _node_names(node)


def _node_names(node: NodeProto) -> Iterator[str]:
    yield from (node.name, node.op_type, node.domain, node.overload)
    yield from (*node.input, *node.output)
    for attribute in node.attribute:
        yield from (attribute.name, attribute.ref_attr_name)
        yield from _entries(attribute.t.external_data)
        if attribute.HasField("g"):
            yield from _graph_names(attribute.g)
        for graph in attribute.graphs:
            yield from _graph_names(graph)


def _entries(entries: Iterable[StringStringEntryProto]) -> Iterator[str]:
    for entry in entries:
        yield entry.key
        yield entry.value

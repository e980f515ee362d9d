"""A light copy of a model for tools that rewrite whole messages: large tensors become stubs.

A stub is an external tensor whose location is a token. Tools carry it along wherever it goes, and
`LightCopy.restore` puts the tensor itself in its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

from graphopt.graph.skeleton import KEPT_BYTES
from graphopt.model import Model
from graphopt.model.messages import copy_but
from graphopt.model.nodes import plain_domain
from graphopt.model.tensors import graph_tensors

_TOKEN = "graphopt stub "
_LOCATION = "location"


@dataclass(slots=True)
class LightCopy:
    """A model without its large tensors, and those tensors.

    Attributes:
        proto: The copy; the standard domain has its one name everywhere.
        originals: What each stub stands for, by its number.
    """

    model: Model
    proto: ModelProto = field(default_factory=ModelProto)
    originals: list[TensorProto] = field(default_factory=list)

    def restore(self, graph: GraphProto) -> None:
        """Put the large tensors back, under the names that their stubs have now."""
        for tensor in graph_tensors(graph):
            number = stub_number(tensor)
            if number is not None:
                name = tensor.name
                tensor.CopyFrom(self.originals[number])
                tensor.name = name


def lighten(model: Model) -> LightCopy:
    """Copy a model without its large tensors; small external ones are read and embedded.

    Training information stays behind: no tool that rewrites a model looks at it.

    Raises:
        ModelError: A small external tensor cannot be read.
    """
    light = LightCopy(model)
    writer = _Writer(light)
    source = model.proto
    copy_but(light.proto, source, {"graph", "functions", "opset_import", "training_info"})
    for entry in source.opset_import:
        light.proto.opset_import.add(domain=plain_domain(entry.domain), version=entry.version)
    writer.graph(light.proto.graph, source.graph)
    for function in source.functions:
        writer.function(light.proto.functions.add(), function)
    return light


def stub_number(tensor: TensorProto) -> int | None:
    """Which original a tensor stands for; None for one that is no stub."""
    if tensor.data_location != TensorProto.EXTERNAL:
        return None
    for entry in tensor.external_data:
        if entry.key == _LOCATION and entry.value.startswith(_TOKEN):
            return int(entry.value.removeprefix(_TOKEN))
    return None


@dataclass(frozen=True, slots=True)
class _Writer:
    light: LightCopy

    def graph(self, target: GraphProto, source: GraphProto) -> None:
        copy_but(target, source, {"node", "initializer", "sparse_initializer"})
        target.initializer.extend(self.tensor(tensor) for tensor in source.initializer)
        target.sparse_initializer.extend(self.sparse(s) for s in source.sparse_initializer)
        target.node.extend(self.node(node) for node in source.node)

    def function(self, target: FunctionProto, source: FunctionProto) -> None:
        copy_but(target, source, {"node", "opset_import"})
        for entry in source.opset_import:
            target.opset_import.add(domain=plain_domain(entry.domain), version=entry.version)
        target.node.extend(self.node(node) for node in source.node)

    def node(self, source: NodeProto) -> NodeProto:
        domain = plain_domain(source.domain)
        holds = any(
            a.HasField("t") or a.HasField("g") or a.HasField("sparse_tensor")
            or a.tensors or a.graphs or a.sparse_tensors
            for a in source.attribute
        )  # fmt: skip
        if not holds and domain == source.domain:
            return source
        result = NodeProto()
        copy_but(result, source, {"attribute"})
        if domain != source.domain:
            result.domain = domain
        for attribute in source.attribute:
            copy = result.attribute.add()
            copy_but(copy, attribute, {"t", "g", "sparse_tensor", "tensors", "graphs",
                                       "sparse_tensors"})  # fmt: skip
            if attribute.HasField("t"):
                copy.t.CopyFrom(self.tensor(attribute.t))
            if attribute.HasField("g"):
                self.graph(copy.g, attribute.g)
            if attribute.HasField("sparse_tensor"):
                copy.sparse_tensor.CopyFrom(self.sparse(attribute.sparse_tensor))
            copy.tensors.extend(self.tensor(tensor) for tensor in attribute.tensors)
            copy.sparse_tensors.extend(self.sparse(s) for s in attribute.sparse_tensors)
            for body in attribute.graphs:
                self.graph(copy.graphs.add(), body)
        return result

    def sparse(self, source: SparseTensorProto) -> SparseTensorProto:
        result = SparseTensorProto(dims=source.dims)
        result.values.CopyFrom(self.tensor(source.values))
        result.indices.CopyFrom(self.tensor(source.indices))
        return result

    def tensor(self, source: TensorProto) -> TensorProto:
        data = self.light.model.tensor(source)
        if data.is_string or (not data.is_external and data.nbytes <= KEPT_BYTES):
            return source
        result = TensorProto(name=source.name, data_type=source.data_type, dims=source.dims)
        if data.nbytes <= KEPT_BYTES:
            # Tools read shapes and axes out of it.
            result.raw_data = b"".join(map(bytes, data.blocks()))
            return result
        result.data_location = TensorProto.EXTERNAL
        result.external_data.add(key=_LOCATION, value=f"{_TOKEN}{len(self.light.originals)}")
        self.light.originals.append(source)
        return result

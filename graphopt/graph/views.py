"""The read-only views that passes get: thin handles over the linked elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from onnx import NodeProto

from graphopt.contract import Array, Dim, Skip, Use, ValueView
from graphopt.graph.attributes import decode, is_plain
from graphopt.graph.elements import Node, Scope, Tensor, Weight
from graphopt.graph.function_calls import function_calls
from graphopt.graph.replacing import refusal
from graphopt.model import TensorData, tensor_from_array

if TYPE_CHECKING:
    from graphopt.graph.program import Program


class ValueHandle:
    """See contract.ValueView."""

    __slots__ = ("element", "program")

    def __init__(self, element: Tensor, program: Program) -> None:
        self.element = element
        self.program = program

    def __repr__(self) -> str:
        return f"<value {self.name!r}>"

    @property
    def name(self) -> str:
        return str(self.element.name)

    @property
    def dtype(self) -> np.dtype[Any] | None:
        known = self.element.type_known.dtype
        stored = self._stored() if known is None else None
        return known if stored is None else stored.dtype  # inference does not reach functions

    @property
    def shape(self) -> tuple[Dim, ...] | None:
        known = self.element.type_known.shape
        stored = self._stored() if known is None else None
        return known if stored is None else stored.shape

    @property
    def producer(self) -> NodeHandle | None:
        producers = self.element.inputs
        return node_view(producers[0], self.program) if producers else None

    @property
    def readers(self) -> Sequence[Use]:
        uses = []
        for node in dict.fromkeys(self.element.outputs):
            view = node_view(node, self.program)
            uses += [Use(view, i) for i, v in enumerate(node.inputs) if v is self.element]
        return tuple(uses)

    @property
    def graph(self) -> GraphHandle:
        assert self.element.scope is not None
        return graph_view(self.element.scope, self.program)

    @property
    def is_graph_input(self) -> bool:
        return bool(self.element.is_input)

    @property
    def is_graph_output(self) -> bool:
        return bool(self.element.output_of)

    @property
    def is_constant(self) -> bool:
        return self._stored() is not None

    @property
    def is_initializer(self) -> bool:
        return isinstance(self.element, Weight)

    @property
    def nbytes(self) -> int | None:
        stored = self._stored()
        return None if stored is None else stored.nbytes

    def array(self) -> Array:
        return self._constant().array()

    def digest(self) -> bytes:
        return self._constant().digest()

    def label(self) -> str:
        scope = self.element.scope
        return f"{scope.path}/{self.name}" if scope is not None and scope.path else self.name

    def replaceable_by(self, other: ValueView) -> Skip | None:
        assert isinstance(other, ValueHandle)
        return refusal(self.element, other.element)

    def _constant(self) -> TensorData:
        stored = self._stored()
        if stored is None:
            raise ValueError(f"{self.name!r} is not a constant")
        return stored

    def _stored(self) -> TensorData | None:
        element = self.element
        if isinstance(element, Weight):
            return element.data
        if element.inputs:
            return constant_node_data(element.inputs[0])
        return None


class NodeHandle:
    """See contract.NodeView."""

    __slots__ = ("element", "program")

    def __init__(self, element: Node, program: Program) -> None:
        self.element = element
        self.program = program

    def __repr__(self) -> str:
        return f"<node {self.label()}>"

    @property
    def op_type(self) -> str:
        return str(self.element.op)

    @property
    def domain(self) -> str:
        return str(self.element.domain)

    @property
    def name(self) -> str:
        return str(self.element.name)

    @property
    def inputs(self) -> Sequence[ValueHandle | None]:
        return tuple(value_view(v, self.program) if v.name else None for v in self.element.inputs)

    @property
    def outputs(self) -> Sequence[ValueHandle | None]:
        return tuple(value_view(v, self.program) if v.name else None for v in self.element.outputs)

    @property
    def graph(self) -> GraphHandle:
        return graph_view(self.element.scope, self.program)

    @property
    def bodies(self) -> Mapping[str, GraphHandle]:
        return {name: graph_view(s, self.program) for name, s in self.element.bodies.items()}

    @property
    def is_opaque(self) -> bool:
        element = self.element
        return (
            element.excluded
            or element.domain != ""
            or (element.domain, element.op) in self.program.function_ids
            or not all(is_plain(attribute) for attribute in element.attrs.values())
            or element.lacks_operands()
        )

    @property
    def attributes(self) -> Mapping[str, Any]:
        files = self.element.scope.model.files
        return {
            name: decode(attribute, files)
            for name, attribute in self.element.attrs.items()
            if is_plain(attribute) and name not in self.element.bodies
        }

    def attribute(self, name: str, default: Any = None) -> Any:
        attribute = self.element.attrs.get(name)
        if attribute is None or name in self.element.bodies or not is_plain(attribute):
            return default
        return decode(attribute, self.element.scope.model.files)

    def to_proto(self) -> NodeProto:
        return node_proto(self.element)

    def label(self) -> str:
        outputs = [v.name for v in self.element.outputs if v.name]
        if self.name:
            return f"{self.op_type} {self.name}"
        return f"{self.op_type} -> {outputs[0]}" if outputs else self.op_type


class GraphHandle:
    """See contract.GraphView."""

    __slots__ = ("element", "program")

    def __init__(self, element: Scope, program: Program) -> None:
        self.element = element
        self.program = program

    @property
    def kind(self) -> Literal["main", "body", "function"]:
        return self.element.kind

    @property
    def path(self) -> str:
        return self.element.path

    @property
    def nodes(self) -> Sequence[NodeHandle]:
        return tuple(node_view(node, self.program) for node in self.element.ordered())

    @property
    def inputs(self) -> Sequence[ValueHandle]:
        return tuple(value_view(v, self.program) for v in self.element.inputs)

    @property
    def outputs(self) -> Sequence[ValueHandle]:
        return tuple(value_view(v, self.program) for v in self.element.outputs)

    @property
    def initializers(self) -> Sequence[ValueHandle]:
        weights = sorted(self.element.weights, key=lambda weight: weight.rank)
        return tuple(value_view(w, self.program) for w in weights)

    @property
    def stores_initializers(self) -> bool:
        return self.element.stores_initializers

    def opset(self, domain: str = "") -> int:
        return self.element.opsets.get(domain, 0)

    def calls(self) -> Sequence[NodeHandle] | Skip | None:
        found = function_calls(self.element, self.program)
        if found is None or isinstance(found, Skip):
            return found
        return tuple(node_view(node, self.program) for node in found)

    def nested(self) -> Sequence[GraphHandle]:
        return tuple(graph_view(scope, self.program) for scope in self.element.nested())


def value_view(element: Tensor, program: Program) -> ValueHandle:
    """The one handle of a value."""
    if element.view is None:
        element.view = ValueHandle(element, program)
    return element.view  # type: ignore[no-any-return]


def node_view(element: Node, program: Program) -> NodeHandle:
    """The one handle of a node."""
    if element.view is None:
        element.view = NodeHandle(element, program)
    return element.view  # type: ignore[no-any-return]


def graph_view(element: Scope, program: Program) -> GraphHandle:
    """The one handle of a scope."""
    if element.view is None:
        element.view = GraphHandle(element, program)
    return element.view  # type: ignore[no-any-return]


def node_proto(node: Node) -> NodeProto:
    """The node as it stands, as a message of its own."""
    proto = NodeProto(op_type=node.op, domain=node.domain, name=node.name)
    proto.input.extend(value.name for value in node.inputs)
    proto.output.extend(value.name for value in node.outputs)
    proto.attribute.extend(node.attrs.values())
    return proto


def constant_node_data(node: Node) -> TensorData | None:
    """What a Constant node holds, None for other nodes and for values that are not dense."""
    if node.op != "Constant" or node.domain != "" or len(node.attrs) != 1:
        return None
    (attribute,) = node.attrs.values()
    if not is_plain(attribute):
        return None
    if attribute.HasField("t"):
        return TensorData(attribute.t, node.scope.model.files)
    plain = decode(attribute, None)
    if attribute.name.startswith("value_string"):
        array: Array = np.array(plain, dtype=object)
    else:
        array = np.array(plain, np.float32 if "float" in attribute.name else np.int64)
    return TensorData(tensor_from_array(array, node.outputs[0].name), None)

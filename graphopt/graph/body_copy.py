"""Copying what a body holds into the graph around it, every step of it recorded.

Names that no other graph of the model has are kept; others give way to fresh ones. The bodies
inside the copied one keep all of their names: nothing that is new around them has one of those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from onnx import AttributeProto, SparseTensorProto, TensorProto

from graphopt.errors import EditRefused
from graphopt.graph.changes import Change, PlaceName, PlaceNode, PlaceWeight, SetLinks
from graphopt.graph.elements import Node, Rank, Scope, Tensor, Value, ValueType, Weight
from graphopt.graph.program import Program
from graphopt.model import TensorData

_SPARSE_CONSTANTS = 11
"""Opset from which a Constant may be sparse."""


@dataclass(slots=True)
class BodyCopy:
    """One copy of a body.

    Attributes:
        owner: The owner of the body, or the call of the function; the copy goes into its graph.
        rank: Gives the place of each node, one after the other.
        apply: Makes and records a change.
        new: What stands for each value of the body.
        nodes: The new nodes, those in copied bodies included.
        given: The attributes of a function that is called, by name; None for a body.
    """

    program: Program
    owner: Node
    rank: Callable[[], Rank]
    apply: Callable[[Change], None]
    new: dict[Tensor, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    given: dict[str, AttributeProto] | None = None

    @property
    def target(self) -> Scope:
        """The graph that the copy goes into."""
        return self.owner.scope

    def run(self, body: Scope, bound: Sequence[Tensor]) -> list[Tensor]:
        """Copy all of it.

        Args:
            body: The body; it stays as it is.
            bound: What its inputs are, in their order.

        Returns:
            What stands for its outputs.

        Raises:
            EditRefused: Something in it is known by its name alone.
        """
        _check(body)
        self.new.update(zip(body.inputs, bound, strict=True))
        for weight in sorted(body.weights, key=lambda weight: weight.rank):
            self.new[weight] = self._stored(weight)
        for sparse in _sparse_initializers(body):
            value = body.names[sparse.values.name]
            self.new[value] = self._sparse(value, sparse)
        for node in body.ordered():
            self.new.update((v, self._value(v)) for v in node.outputs if v.name)
        if body.kind == "function":
            self.given = {
                a.name: a for a in (*body.proto.attribute_proto, *self.owner.attrs.values())
            }
        for node in body.ordered():
            self._node(node)
        if body.kind == "function":
            self.program.repeated.update(body.names)  # it may be copied again, anywhere
        return [self._read(value) for value in body.outputs]

    def _node(self, node: Node) -> None:
        renamed = any(v.name and self.new[v].name != v.name for v in node.outputs)
        name = self.program.fresh(node.name) if renamed and node.name else node.name
        copy = self._twin(node, self.target, self.rank(), name)
        self.apply(PlaceNode(copy, present=True))
        outputs = [self.new[v] if v.name else Value("", None) for v in node.outputs]
        for value in outputs:
            if value.name:
                self.apply(PlaceName(value, self.target, present=True))
        self._link(copy, node, outputs)

    def _twin(self, node: Node, scope: Scope, rank: Rank, name: str) -> Node:
        copy = Node(
            node.op,
            scope,
            name=name,
            domain=node.domain,
            attributes=self._attributes(node),
            inputs=[],
            outputs=[],
            rank=rank,
            proto=node.proto,
        )
        copy.edits = 1  # it is never written as it was read
        self.nodes.append(copy)
        for attribute, nested in node.bodies.items():
            copy.bodies[attribute] = self._scope(nested, scope, copy, attribute, node)
        return copy

    def _attributes(self, node: Node) -> dict[str, AttributeProto]:
        """A node's attributes; those that refer to one of the function's take its value."""
        if self.given is None:
            return dict(node.attrs)
        found = {}
        for name, attribute in node.attrs.items():
            if not attribute.ref_attr_name:
                found[name] = attribute
            elif attribute.ref_attr_name in self.given:
                found[name] = AttributeProto()
                found[name].CopyFrom(self.given[attribute.ref_attr_name])
                found[name].name = name
        return found

    def _scope(
        self, nested: Scope, parent: Scope, owner: Node, attribute: str, read: Node
    ) -> Scope:
        """A copy of a body inside the body: it comes and goes with its owner."""
        first = next((self.new.get(v, v).name for v in read.outputs if v.name), owner.name)
        path = "/".join(filter(None, (parent.path, f"{first}.{attribute}")))
        scope = Scope(
            nested.kind, path, nested.model, nested.opsets, nested.proto, parent, owner,
            edits=1, stores_initializers=nested.stores_initializers,
        )  # fmt: skip
        values = {v: self._inner(v, scope) for v in nested.names.values()}
        self.new.update(values)
        scope.names = {value.name: value for value in values.values()}
        self.program.note_copied(scope.names)
        scope.weights = {w: None for w in values.values() if isinstance(w, Weight)}
        scope.inputs = [self.new[v] for v in nested.inputs]
        for node in nested.ordered():
            copy = self._twin(node, scope, node.rank, node.name)
            scope.nodes[copy] = None
            outputs = [self.new[v] if v.name else Value("", None) for v in node.outputs]
            self._link(copy, node, outputs)
        scope.outputs = [self.new[v] for v in nested.outputs]
        return scope

    def _link(self, copy: Node, node: Node, outputs: list[Tensor]) -> None:
        self.apply(SetLinks(copy, "outputs", [], outputs))
        self.apply(SetLinks(copy, "inputs", [], [self._read(value) for value in node.inputs]))

    def _read(self, value: Tensor) -> Tensor:
        found = self.new.get(value, value)
        return found if found.name else Value("", None)

    def _value(self, value: Tensor) -> Value:
        return _typed(Value(self._name(value.name), self.target), value)

    def _inner(self, value: Tensor, scope: Scope) -> Tensor:
        if isinstance(value, Weight):
            copy: Tensor = Weight(value.data, scope, value.rank)
        else:
            copy = _typed(Value(value.name, scope), value)
            copy.default = value.default
        copy.is_input, copy.output_of = value.is_input, value.output_of
        return copy

    def _name(self, name: str) -> str:
        if name in self.program.repeated or self.target.look_up(name) is not None:
            return self.program.fresh(name)
        return name

    def _stored(self, weight: Weight) -> Tensor:
        """An initializer as one of the target's, or as a Constant node where it stores none."""
        name, proto = self._name(weight.name), weight.data.proto
        if name != weight.name:
            proto = TensorProto()
            proto.CopyFrom(weight.data.proto)
            proto.name = name
        if not self.target.stores_initializers:
            return self._constant(_typed(Value(name, self.target), weight), "value", proto)
        data = TensorData(proto, self.target.model.files)
        copy = Weight(data, self.target, self.target.next_rank())
        self.apply(PlaceWeight(copy, present=True))
        return copy

    def _sparse(self, value: Tensor, sparse: SparseTensorProto) -> Tensor:
        if self.target.opsets.get("", 0) < _SPARSE_CONSTANTS:
            raise EditRefused(f"{value.name!r} is sparse, which this opset has no Constant for")
        return self._constant(self._value(value), "sparse_value", sparse)

    def _constant(self, value: Value, name: str, content: TensorProto | SparseTensorProto) -> Value:
        attribute = AttributeProto(name=name)
        if isinstance(content, TensorProto):
            attribute.type = AttributeProto.TENSOR
            attribute.t.CopyFrom(content)
        else:
            attribute.type = AttributeProto.SPARSE_TENSOR
            attribute.sparse_tensor.CopyFrom(content)
        node = Node(
            "Constant",
            self.target,
            name=value.name,
            domain="",
            attributes={name: attribute},
            inputs=[],
            outputs=[],
            rank=self.rank(),
            proto=None,
        )
        self.nodes.append(node)
        self.apply(PlaceNode(node, present=True))
        self.apply(PlaceName(value, self.target, present=True))
        self.apply(SetLinks(node, "outputs", [], [value]))
        return value


def _sparse_initializers(body: Scope) -> Sequence[SparseTensorProto]:
    return getattr(body.proto, "sparse_initializer", ())


def _typed(value: Value, like: Tensor) -> Value:
    value.type_known = ValueType(like.type_known.dtype, like.type_known.shape)
    return value


def _check(body: Scope) -> None:
    """Refuse what refers to values by their names, out of reach of links."""
    for scope in body.nested():
        if getattr(scope.proto, "quantization_annotation", ()):
            raise EditRefused("a body holds quantization annotations", node=body.path)
        if any(value.scope is not scope for value in scope.outputs) and scope is not body:
            raise EditRefused("a body gives back a value of another graph", node=scope.path)
        for node in scope.nodes:
            if any(attribute.graphs for attribute in node.attrs.values()):
                raise EditRefused("a node holds a list of graphs", node=f"{node.op} {node.name}")
    known = set(body.inputs) | set(body.weights)
    known |= {value for node in body.nodes for value in node.outputs}
    sparse = {entry.values.name for entry in _sparse_initializers(body)}
    for name, value in body.names.items():
        if value not in known and name not in sparse:
            raise EditRefused(f"nobody defines {name!r}", node=body.path)

"""The one writer. What it does is recorded; what would break the graph it refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphopt.contract import Array, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.errors import EditRefused
from graphopt.graph.attributes import encode
from graphopt.graph.body_copy import BodyCopy
from graphopt.graph.changes import (
    Change,
    DropFunction,
    PlaceName,
    PlaceNode,
    PlaceWeight,
    SetAttributes,
    SetLinks,
    SetType,
)
from graphopt.graph.elements import Node, Rank, Scope, Tensor, Value, ValueType, Weight
from graphopt.graph.function_calls import function_calls
from graphopt.graph.journal import Transaction
from graphopt.graph.program import Program
from graphopt.graph.replacing import refusal
from graphopt.graph.shapes import infer_outputs
from graphopt.graph.views import (
    GraphHandle,
    NodeHandle,
    ValueHandle,
    node_view,
    value_view,
)
from graphopt.model import TensorData, tensor_from_array


class GraphEditor:
    """See contract.Editor. One editor writes one transaction.

    Args:
        program: The graph to write to.
        transaction: Where each change is recorded as it is made.
    """

    def __init__(self, program: Program, transaction: Transaction) -> None:
        self._program = program
        self._transaction = transaction
        self.touched: dict[Node, None] = {}

    def constant(self, array: Array, hint: str, graph: GraphView) -> ValueView:
        """See contract.Editor.constant."""
        scope = _scope(graph)
        name = self._program.fresh(hint)
        tensor = tensor_from_array(array, name)
        if not scope.stores_initializers:
            return self._constant_node(array, name, scope)
        weight = Weight(TensorData(tensor, None), scope, scope.next_rank())
        self._apply(PlaceWeight(weight, present=True))
        return value_view(weight, self._program)

    def insert(
        self,
        op_type: str,
        inputs: Sequence[ValueView | None],
        *,
        before: NodeView,
        outputs: int = 1,
        attributes: Mapping[str, Any] | None = None,
        domain: str = "",
        hint: str = "",
    ) -> NodeView:
        """See contract.Editor.insert."""
        anchor = _node(before)
        scope = anchor.scope
        hint = hint or next((v.name for v in anchor.outputs if v.name), op_type)
        results: list[Tensor] = [
            Value(self._program.fresh(f"{hint}_{op_type}"), scope) for _ in range(outputs)
        ]
        rank = self._rank_before(anchor.rank)
        node = self._place(op_type, scope, domain, attributes or {}, results, rank)
        self._link(node, "inputs", [_element(value) for value in inputs])
        for value, known in zip(results, infer_outputs(node), strict=True):
            self._apply(SetType(value, value.type_known, known))
        return node_view(node, self._program)

    def set_input(self, node: NodeView, index: int, value: ValueView | None) -> None:
        """See contract.Editor.set_input."""
        element = _free(node)
        inputs = list(element.inputs)
        while len(inputs) <= index:
            inputs.append(Value("", None))
        inputs[index] = _element(value)
        while inputs and not inputs[-1].name:
            inputs.pop()
        self._link(element, "inputs", inputs)

    def set_attribute(self, node: NodeView, name: str, value: Any) -> None:
        """See contract.Editor.set_attribute."""
        element = _free(node)
        if name in element.bodies:
            raise EditRefused(f"attribute {name!r} is a graph; edit its nodes", node=node.label())
        before = dict(element.attrs)
        after = {**before, name: None if value is None else encode(name, value)}
        if value is None:
            del after[name]
        self._apply(SetAttributes(element, before, after))
        self.touched[element] = None

    def replace(self, old: ValueView, new: ValueView) -> None:
        """See contract.Editor.replace."""
        before, after = _element(old), _element(new)
        if before is after:
            raise EditRefused(f"value {old.name!r} cannot replace itself")
        refused = refusal(before, after)
        if refused:
            raise EditRefused(f"{old.name!r} by {new.name!r}: {refused.reason}")
        if self._transaction.effect is Effect.LOSSY and old.is_constant:
            for reader in before.outputs:
                _free(node_view(reader, self._program))
        if before.output_of:
            self._take_over(before, after)
        else:
            self._rewire(before, after)

    def adopt(self, node: NodeView, index: int, value: ValueView) -> None:
        """See contract.Editor.adopt."""
        element, adopted = _free(node), _element(value)
        former = element.outputs[index]
        if not adopted.inputs or adopted.inputs[0] is element:
            raise EditRefused(f"no other node computes {value.name!r}", node=node.label())
        giver = adopted.inputs[0]
        if former.output_of or any(reader is not giver for reader in former.outputs):
            raise EditRefused(f"{former.name!r} is read elsewhere", node=node.label())
        if giver.scope is not element.scope:
            raise EditRefused(f"{value.name!r} belongs to another graph", node=node.label())
        self._take_over(adopted, former)

    def inline(
        self, node: NodeView, body: GraphView, inputs: Sequence[ValueView | None] = ()
    ) -> Sequence[ValueView]:
        """See contract.Editor.inline."""
        element, scope = _free(node), _scope(body)
        bound = [_element(value) for value in inputs]
        if scope.kind == "function" and (element.domain, element.op) == scope.function_id:
            bound += [Value("", None) for _ in scope.inputs[len(bound) :]]
        elif scope.owner is not element:
            raise EditRefused(f"{body.path} is no body of it", node=node.label())
        if len(bound) != len(scope.inputs):
            raise EditRefused(f"its body has {len(scope.inputs)} inputs", node=node.label())
        copy = BodyCopy(
            self._program, element, lambda: self._rank_before(element.rank), self._apply
        )
        outputs = copy.run(scope, bound)
        self.touched.update(dict.fromkeys(copy.nodes))
        return tuple(value_view(value, self._program) for value in outputs)

    def remove_function(self, function: GraphView) -> None:
        """See contract.Editor.remove_function."""
        scope, functions = _scope(function), self._program.functions
        calls = function_calls(scope, self._program)
        if calls is None or isinstance(calls, Skip) or calls:
            raise EditRefused(f"{function.path} is still called, or no function")
        main = self._program.main
        self._apply(DropFunction(functions, scope, main, functions.index(scope)))

    def remove(self, node: NodeView) -> None:
        """See contract.Editor.remove."""
        element = _free(node)
        if element not in element.scope.nodes:
            raise EditRefused("the node is not in the graph", node=node.label())
        for value in element.outputs:
            if value.name and (value.outputs or value.output_of):
                raise EditRefused(f"{value.name!r} is still read", node=node.label())
        for body in element.bodies.values():
            self._detach(body)
        self._link(element, "inputs", [])
        for value in element.outputs:
            if value.name:
                self._apply(PlaceName(value, element.scope, present=False))
        self._link(element, "outputs", [])
        self._apply(PlaceNode(element, present=False))
        self.touched.pop(element, None)

    def remove_initializer(self, value: ValueView) -> None:
        """See contract.Editor.remove_initializer."""
        element = _element(value)
        if not isinstance(element, Weight):
            raise EditRefused(f"{value.name!r} is not an initializer that can be removed")
        if element.outputs or element.output_of:
            raise EditRefused(f"initializer {value.name!r} is still read")
        self._apply(PlaceWeight(element, present=False))

    def _constant_node(self, array: Array, name: str, scope: Scope) -> ValueView:
        value = Value(name, scope)
        first = min((node.rank for node in scope.nodes), default=(0,))
        self._place("Constant", scope, "", {"value": array}, [value], (first[0] - 1,))
        self._apply(SetType(value, value.type_known, ValueType(array.dtype, array.shape)))
        return value_view(value, self._program)

    def _place(
        self,
        op_type: str,
        scope: Scope,
        domain: str,
        attributes: Mapping[str, Any],
        outputs: list[Tensor],
        rank: Rank,
    ) -> Node:
        node = Node(
            op_type,
            scope,
            name=outputs[0].name if outputs else self._program.fresh(op_type),
            domain=domain,
            attributes={name: encode(name, value) for name, value in attributes.items()},
            inputs=[],
            outputs=[],
            rank=rank,
            proto=None,
        )
        self._apply(PlaceNode(node, present=True))
        for value in outputs:
            self._apply(PlaceName(value, scope, present=True))
        self._link(node, "outputs", outputs)
        return node

    def _rank_before(self, anchor: Rank) -> Rank:
        """A rank below the anchor's and above all that stands before it, later ones higher."""
        serial = len(self._program.journal.done) * 10_000 + len(self._transaction.changes)
        return (*anchor[:-1], anchor[-1] - 1, 1, serial)

    def _take_over(self, old: Tensor, new: Tensor) -> None:
        """Let the producer of `new` write the graph output `old`, whose name must stay."""
        old_producer, producer = old.inputs[0], new.inputs[0]
        self._rewire(new, old)
        # The former producer may stay for another output's sake: its own becomes a dead one.
        dead = Value(self._program.fresh(f"{old.name}_unused"), old_producer.scope)
        self._apply(PlaceName(dead, old_producer.scope, present=True))
        outputs = [dead if v is old else v for v in old_producer.outputs]
        self._link(old_producer, "outputs", outputs)
        self._link(producer, "outputs", [old if v is new else v for v in producer.outputs])
        self._apply(PlaceName(new, producer.scope, present=False))
        if old.type_known.shape is None:
            known = ValueType(old.type_known.dtype or new.type_known.dtype, new.type_known.shape)
            self._apply(SetType(old, old.type_known, known))

    def _rewire(self, old: Tensor, new: Tensor) -> None:
        for node in dict.fromkeys(old.outputs):
            self._link(node, "inputs", [new if v is old else v for v in node.inputs])

    def _detach(self, body: Scope) -> None:
        """Let the nodes of a body that goes away read nothing outside it any more."""
        for scope in body.nested():
            for node in scope.ordered():
                # Not touched: the node goes away with its body, nobody checks it any more.
                self.touched.pop(node, None)
                self._apply(SetLinks(node, "inputs", list(node.inputs), []))

    def _link(self, node: Node, side: str, after: list[Tensor]) -> None:
        self._apply(SetLinks(node, side, list(getattr(node, side)), after))
        self.touched[node] = None

    def _apply(self, change: Change) -> None:
        if change.is_empty():
            return  # an edit that changes nothing is none: rounds end when there are none
        change.do()
        self._transaction.changes.append(change)


def _scope(graph: GraphView) -> Scope:
    assert isinstance(graph, GraphHandle)
    return graph.element


def _node(node: NodeView) -> Node:
    assert isinstance(node, NodeHandle)
    return node.element


def _free(node: NodeView) -> Node:
    """A node that may be changed.

    Raises:
        EditRefused: The user wants it left alone.
    """
    element = _node(node)
    if element.excluded:
        raise EditRefused("the node is excluded", node=node.label())
    return element


def _element(value: ValueView | None) -> Tensor:
    if value is None:
        return Value("", None)
    assert isinstance(value, ValueHandle)
    return value.element

"""From protobuf to linked scopes. Nothing is decoded that a pass does not ask for."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TrainingInfoProto

from graphopt.errors import ModelError
from graphopt.graph.elements import Node, Scope, Tensor, Value, Weight
from graphopt.graph.program import Program
from graphopt.model import Model
from graphopt.model.nodes import plain_domain

_FIRST_IR_WITH_FREE_INITIALIZERS = 4
MAX_NESTING = 64
"""Bodies inside bodies; protobuf itself stops near 100 messages."""


def build_program(model: Model) -> Program:
    """Link a model's nodes and values.

    Raises:
        ModelError: One scope defines a name twice, or bodies nest beyond MAX_NESTING.
    """
    builder = _Builder(model)
    main = builder.graph(model.proto.graph, "main", "", dict(model.opsets), None, None)
    functions = [builder.function(function) for function in model.proto.functions]
    ids = frozenset((plain_domain(f.domain), f.name) for f in model.proto.functions)
    for training in model.proto.training_info:
        builder.pin_training(training, main)
    return Program(model, main, functions, builder.taken, ids, builder.repeated)


class _Builder:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.taken: set[str] = set()
        self.repeated: set[str] = set()
        self.free_initializers = model.proto.ir_version >= _FIRST_IR_WITH_FREE_INITIALIZERS

    def graph(
        self,
        proto: GraphProto,
        kind: str,
        path: str,
        opsets: dict[str, int],
        parent: Scope | None,
        owner: Node | None,
        depth: int = 0,
    ) -> Scope:
        scope = Scope(
            "main" if kind == "main" else "body", path, self.model, opsets, proto, parent, owner,
            stores_initializers=self.free_initializers,
        )  # fmt: skip
        for info in proto.input:
            scope.inputs.append(self._input(info.name, scope))
        for rank, tensor in enumerate(proto.initializer):
            data = self.model.tensor(tensor)
            known = scope.names.get(tensor.name)
            if isinstance(known, Value) and known.is_input and known.default is None:
                known.default = data
            else:
                weight = Weight(data, scope, rank)
                self._define(weight, scope)
                scope.weights[weight] = None
        for sparse in proto.sparse_initializer:
            # Passes see a value of unknown content: sound, and nothing is lost.
            if sparse.values.name not in scope.names:
                self._define(Value(sparse.values.name, scope), scope)
        self._nodes(proto.node, scope, depth)
        for info in proto.output:
            scope.outputs.append(self._resolve(info.name, scope))
            scope.outputs[-1].output_of += 1
        for note in proto.quantization_annotation:
            # An annotation names tensors as a reader does: they stay, under their names.
            for entry in note.quant_parameter_tensor_names:
                if entry.value in scope.names:
                    scope.names[entry.value].output_of += 1
        return scope

    def function(self, proto: FunctionProto) -> Scope:
        opsets = {plain_domain(entry.domain): entry.version for entry in proto.opset_import}
        scope = Scope("function", f"{proto.domain}::{proto.name}", self.model, opsets, proto)
        scope.stores_initializers = False
        for name in proto.input:
            scope.inputs.append(self._input(name, scope))
        self._nodes(proto.node, scope, 0)
        for name in proto.output:
            scope.outputs.append(self._resolve(name, scope))
            scope.outputs[-1].output_of += 1
        return scope

    def _nodes(self, protos: Iterable[NodeProto], scope: Scope, depth: int) -> None:
        # Outputs first, links second: a file whose nodes are out of order links all the same.
        pending = []
        for position, proto in enumerate(protos):
            outputs: list[Tensor] = []
            for name in proto.output:
                value = Value(name, scope)
                if name:
                    self._define(value, scope)
                outputs.append(value)
            pending.append((position, proto, outputs))
            self.taken.add(proto.name)
        for position, proto, outputs in pending:
            node = Node(
                proto.op_type,
                scope,
                name=proto.name,
                domain=plain_domain(proto.domain),
                attributes={attribute.name: attribute for attribute in proto.attribute},
                inputs=[self._resolve(name, scope) for name in proto.input],
                outputs=outputs,
                rank=(position,),
                proto=proto,
            )
            scope.nodes[node] = None
            self._bodies(node, proto, scope, depth + 1)

    def _bodies(self, node: Node, proto: NodeProto, scope: Scope, depth: int) -> None:
        for attribute in proto.attribute:
            for graph in attribute.graphs:
                self._pin(graph, scope)
            if attribute.type != AttributeProto.GRAPH or not attribute.HasField("g"):
                continue
            first = proto.output[0] if proto.output else proto.name
            path = "/".join(filter(None, (scope.path, f"{first}.{attribute.name}")))
            if depth > MAX_NESTING:
                raise ModelError(f"bodies nest more than {MAX_NESTING} deep", node=path[:80])
            node.bodies[attribute.name] = self.graph(
                attribute.g, "body", path, scope.opsets, scope, node, depth
            )

    def pin_training(self, training: TrainingInfoProto, main: Scope) -> None:
        """Keep what training reads and binds by name."""
        bindings = [*training.initialization_binding, *training.update_binding]
        for name in [text for entry in bindings for text in (entry.key, entry.value)]:
            if name in main.names:
                main.names[name].output_of += 1
        for graph in (training.initialization, training.algorithm):
            self._pin(graph, main)

    def _pin(self, graph: GraphProto, scope: Scope) -> None:
        """Keep what an unlinked graph (one of a list, in an opaque node) may read by name."""
        for node in graph.node:
            self.taken.update([node.name, *node.input, *node.output])
            for name in node.input:
                found = scope.look_up(name) if name else None
                if found is not None:
                    found.output_of += 1
            for attribute in node.attribute:
                for nested in [*attribute.graphs, attribute.g]:
                    self._pin(nested, scope)
        self.taken.update(tensor.name for tensor in graph.initializer)
        self.taken.update(info.name for info in [*graph.input, *graph.output])

    def _input(self, name: str, scope: Scope) -> Value:
        value = Value(name, scope)
        value.is_input = True
        self._define(value, scope)
        return value

    def _define(self, value: Tensor, scope: Scope) -> None:
        if value.name in scope.names:
            raise ModelError(
                f"value {value.name!r} is defined twice in {scope.path or 'the main graph'}",
                file=self.model.path,
            )
        scope.names[value.name] = value
        if value.name in self.taken:
            self.repeated.add(value.name)
        self.taken.add(value.name)

    def _resolve(self, name: str, scope: Scope) -> Tensor:
        if not name:
            return Value("", scope)
        found = scope.look_up(name)
        if found is None:
            # Nobody defines it: the checker will say so of the original; here it is just a value.
            found = Value(name, scope)
            self._define(found, scope)
        return found

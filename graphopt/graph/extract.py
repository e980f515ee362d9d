"""Cutting a piece out of a model, from some of its tensors to others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto, helper

from graphopt.errors import ModelError, UsageError
from graphopt.graph.closest import closest
from graphopt.graph.declared import (
    dims_of,
    has_shape,
    inferred_dims,
    inferred_graph,
    set_dims,
    value_types,
)
from graphopt.model import Model
from graphopt.model.messages import copy_but
from graphopt.model.names import model_names
from graphopt.model.nodes import free_reads, plain_domain


def extract(model: Model, inputs: Sequence[str] | None, outputs: Sequence[str]) -> Model:
    """The part of a model that computes some tensors from others.

    Nodes and weights are the model's own; those that are not needed are left out, and so are
    functions that nothing calls. An input with a default stays one where it is needed.

    Args:
        model: The model.
        inputs: Tensors of the main graph to start from, in this order; None starts from those of
            its inputs that are needed.
        outputs: Tensors of the main graph to compute, in this order.

    Raises:
        UsageError: A name is unknown, named twice or inside a body; an output is no result of a
            node, or needs another input; an input is not needed.
        ModelError: The type of a tensor at the border is not known.
    """
    wiring = _Wiring.of(model)
    _check_names(wiring, [] if inputs is None else inputs, "input")
    _check_names(wiring, outputs, "output")
    if not outputs:
        raise UsageError("no output is named", file=model.path)
    kept = _needed(wiring, None if inputs is None else set(inputs), outputs)
    starts = [*wiring.required] if inputs is None else list(inputs)
    if inputs is None:
        starts = [name for name in starts if name in kept.read]
    unused = next((name for name in starts if name not in kept.read), None)
    if unused is not None:
        raise UsageError(f"no output depends on input {unused!r}", hint="leave it out")
    return model.with_proto(_piece(wiring, kept, starts, outputs))


def borders_without_rank(piece: Model) -> list[str]:
    """Inputs and outputs of a piece that are tensors of unknown rank."""
    infos = [*piece.proto.graph.input, *piece.proto.graph.output]
    return [i.name for i in infos if i.type.HasField("tensor_type") and not has_shape(i.type)]


def with_ranks(piece: Model, ranks: Mapping[str, int]) -> Model:
    """The piece with so many open dimensions at its border.

    Args:
        piece: The piece.
        ranks: How many dimensions inputs and outputs have that are tensors of unknown rank.
    """
    proto = ModelProto()
    proto.CopyFrom(piece.proto)
    for info in [*proto.graph.input, *proto.graph.output]:
        if info.name in ranks and not has_shape(info.type):
            set_dims(info.type, [None] * ranks[info.name])
    return piece.with_proto(proto)


@dataclass(slots=True)
class _Wiring:
    """The main graph by name."""

    model: Model
    producers: dict[str, NodeProto] = field(default_factory=dict)
    required: dict[str, None] = field(default_factory=dict)
    """Inputs that a caller must feed."""
    stored: set[str] = field(default_factory=set)
    """Initializers, those that are inputs too included."""

    @classmethod
    def of(cls, model: Model) -> _Wiring:
        graph = model.proto.graph
        found = cls(model)
        found.stored = {tensor.name for tensor in graph.initializer}
        found.stored |= {sparse.values.name for sparse in graph.sparse_initializer}
        found.required = {i.name: None for i in graph.input if i.name not in found.stored}
        for node in graph.node:
            found.producers.update(dict.fromkeys(filter(None, node.output), node))
        return found

    def names(self) -> list[str]:
        return [*self.required, *self.producers, *self.stored]


@dataclass(slots=True)
class _Kept:
    """What a piece consists of: nodes by their outputs, and every name that they read."""

    nodes: set[tuple[str, ...]] = field(default_factory=set)
    read: set[str] = field(default_factory=set)


def _check_names(wiring: _Wiring, names: Sequence[str], side: str) -> None:
    known = dict.fromkeys(wiring.names())
    for name in names:
        if name not in known:
            inside = _home(wiring.model.proto, name)
            if inside:
                raise UsageError(
                    f"{side} {name!r} is inside {inside}",
                    hint="only tensors of the main graph can be extracted",
                )
            raise UsageError(
                f"there is no tensor {name!r}", file=wiring.model.path, hint=closest(name, known)
            )
        if names.count(name) > 1:
            raise UsageError(f"{side} {name!r} is named twice")
        if side == "output" and name not in wiring.producers:
            what = "an input of the model" if name in wiring.required else "a stored constant"
            raise UsageError(f"output {name!r} is {what}: nothing would be computed")


def _home(proto: ModelProto, name: str) -> str:
    """Where a name is that is not one of the main graph; empty where it is nowhere."""
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g") and name in _names_in(attribute.g):
                owner = node.name or (node.output[0] if node.output else "")
                return f"the body {attribute.name!r} of the {node.op_type} node {owner!r}"
    for function in proto.functions:
        if any(name in [*node.input, *node.output] for node in function.node):
            return f"the function {function.domain}::{function.name}"
    return ""


def _names_in(body: GraphProto) -> Iterator[str]:
    yield from (info.name for info in body.input)
    yield from (tensor.name for tensor in body.initializer)
    for node in body.node:
        yield from node.output
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _names_in(attribute.g)


def _needed(wiring: _Wiring, given: set[str] | None, outputs: Sequence[str]) -> _Kept:
    """Walk from the outputs up to what is given, stored, or an input."""
    kept = _Kept()
    for output in outputs:
        if given is not None and output in given:
            raise UsageError(f"{output!r} is both input and output: nothing would be computed")
        pending = [output]
        seen: set[str] = set()
        while pending:
            name = pending.pop()
            node = wiring.producers.get(name)
            if name in seen or name in (given or ()) or name in wiring.stored:
                continue
            seen.add(name)
            if node is None:
                if given is not None and name in wiring.required:
                    raise UsageError(
                        f"output {output!r} needs input {name!r} too",
                        hint=f"name it among the inputs: {','.join([*sorted(given), name])}",
                    )
                continue
            kept.nodes.add(tuple(node.output))
            reads = free_reads(node)
            kept.read.update(reads)
            pending += reads
    return kept


def _piece(
    wiring: _Wiring, kept: _Kept, starts: Sequence[str], outputs: Sequence[str]
) -> ModelProto:
    """The piece as a model; training information, which is about the whole, stays behind."""
    source = wiring.model.proto
    result = ModelProto()
    copy_but(result, source, {"graph", "functions", "training_info"})
    graph = result.graph
    copy_but(graph, source.graph, {
        "node", "initializer", "sparse_initializer", "input", "output", "value_info",
        "quantization_annotation",
    })  # fmt: skip
    graph.node.extend(n for n in source.graph.node if tuple(n.output) in kept.nodes)
    _free_names(wiring, graph.node, starts)
    inside = {name for node in graph.node for name in node.output}
    notes = [
        note for note in source.graph.quantization_annotation
        if note.tensor_name in kept.read | inside
    ]  # fmt: skip
    quantities = {e.value for note in notes for e in note.quant_parameter_tensor_names}
    stored = ((kept.read | quantities) & wiring.stored) - set(starts)
    graph.initializer.extend(t for t in source.graph.initializer if t.name in stored)
    graph.sparse_initializer.extend(
        s for s in source.graph.sparse_initializer if s.values.name in stored
    )
    types = _types(wiring)
    graph.input.extend(_border(name, types, wiring, "input") for name in starts)
    graph.input.extend(i for i in source.graph.input if i.name in stored)
    graph.output.extend(_border(name, types, wiring, "output") for name in outputs)
    graph.value_info.extend(i for i in source.graph.value_info if i.name in inside - set(outputs))
    graph.quantization_annotation.extend(notes)
    result.functions.extend(_called(source, graph.node))
    return result


def _called(source: ModelProto, nodes: Iterable[NodeProto]) -> list[FunctionProto]:
    """The functions that nodes call, and those that these call."""
    functions = {(plain_domain(f.domain), f.name) for f in source.functions}
    called: set[tuple[str, str]] = set()
    pending = [*nodes]
    while pending:
        node = pending.pop()
        for attribute in node.attribute:
            pending += attribute.g.node
        key = (plain_domain(node.domain), node.op_type)
        if key in functions and key not in called:
            called.add(key)
            for function in source.functions:
                if (plain_domain(function.domain), function.name) == key:
                    pending += function.node
    return [f for f in source.functions if (plain_domain(f.domain), f.name) in called]


def _free_names(wiring: _Wiring, nodes: Iterable[NodeProto], starts: Sequence[str]) -> None:
    """Rename what a kept node computes beside a needed value, where it is given now."""
    taken = set(model_names(wiring.model.proto))
    for node in nodes:
        for index, name in enumerate(node.output):
            if name in starts:
                new, number = f"{name}_unused", 0
                while new in taken:
                    number += 1
                    new = f"{name}_unused_{number}"
                taken.add(new)
                node.output[index] = new


def _types(wiring: _Wiring) -> dict[str, TypeProto]:
    """What is known of every value: inference first, declarations where it is silent."""
    source = wiring.model.proto.graph
    types = value_types(inferred_graph(wiring.model.proto))
    for tensor in source.initializer:
        types[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
    for sparse in source.sparse_initializer:
        kind = helper.make_tensor_type_proto(sparse.values.data_type, list(sparse.dims))
        types[sparse.values.name] = kind
    for name, declared in value_types(source).items():
        found = types.get(name, TypeProto())
        if found.WhichOneof("value") is None:
            types[name] = declared
        elif has_shape(found) and has_shape(declared):
            known, stated = inferred_dims(found) or (), dims_of(declared) or ()
            if len(known) == len(stated):
                # A name that people gave says more than one that inference made up.
                merged = [a if a is not None else b for a, b in zip(known, stated, strict=True)]
                set_dims(found, merged)
    return types


def _border(
    name: str, types: Mapping[str, TypeProto], wiring: _Wiring, side: str
) -> ValueInfoProto:
    graph = wiring.model.proto.graph
    infos = graph.input if side == "input" else graph.output
    own = {info.name: info for info in infos}
    if name in own:
        return own[name]
    kind = types.get(name, TypeProto())
    which = kind.WhichOneof("value")
    if which is None or (which == "tensor_type" and not kind.tensor_type.elem_type):
        raise ModelError(
            f"the type of {side} {name!r} is not known", file=wiring.model.path,
            hint="take a tensor behind an operator of the standard domain",
        )  # fmt: skip
    info = ValueInfoProto(name=name, type=kind)
    if has_shape(kind):
        set_dims(info.type, inferred_dims(kind) or ())
    return info

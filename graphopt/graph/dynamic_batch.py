"""Opening the batch: dimension 0 of every input becomes a symbol, what bakes it in is rewritten.

Every rewrite gives the same at the size that the model was made for. That the result is right at
other sizes too is not claimed here: whoever opens a batch proves it by running the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from onnx import GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto

from graphopt.contract import Dim
from graphopt.errors import ModelError, UsageError
from graphopt.graph.baked_batch import unbake
from graphopt.graph.declared import (
    dims_of,
    has_shape,
    inferred_dims,
    inferred_graph,
    set_dims,
    value_types,
)
from graphopt.graph.skeleton import skeleton
from graphopt.model import Model
from graphopt.model.messages import copy_but
from graphopt.model.names import model_names
from graphopt.runtime.inference import infer

SYMBOL = "batch"


@dataclass(frozen=True, slots=True)
class Batched:
    """A model with an open batch.

    Attributes:
        model: The result; the very model given when every batch was open already.
        size: The batch that the model was made for; 1 where it was open.
        symbol: The name of the open dimension.
        inputs: Names of the inputs whose dimension 0 is the batch.
        rewritten: Operators of the nodes that had it baked in, one entry a node.
    """

    model: Model
    size: int
    symbol: str
    inputs: tuple[str, ...]
    rewritten: tuple[str, ...] = ()


def open_batch(model: Model) -> Batched:
    """Make dimension 0 of every input that has dimensions symbolic, and of outputs that follow.

    Inputs with a default, which a caller need not feed, stay as they are. Rewritten are Reshape,
    Expand, ConstantOfShape, Resize and Concat nodes of the main graph whose constants hold the
    batch, and zero initial states of recurrent nodes, which are left out.

    Raises:
        UsageError: The inputs disagree about the batch.
        ModelError: An input is no tensor, or its rank is not known.
    """
    proto = model.proto
    leading = _leading(model)
    if not leading:
        raise UsageError("no input has a dimension to open", file=model.path)
    size = _size(leading)
    symbols = {dim for dim in leading.values() if isinstance(dim, str)}
    symbol = symbols.pop() if len(symbols) == 1 else _fresh(SYMBOL, set(model_names(proto)))
    inputs = tuple(leading)
    if all(isinstance(dim, str) for dim in leading.values()):
        return Batched(model, size, symbol, inputs)
    result = ModelProto()
    copy_but(result, proto, {"graph"})
    result.graph.CopyFrom(proto.graph)
    reached, rewritten = unbake(model, result.graph, inputs, size, _types_at(proto, inputs, size))
    _set_inputs(result.graph.input, {n for n, d in leading.items() if not isinstance(d, str)},
                symbol)  # fmt: skip
    _redeclare(result, reached, size, symbol)
    return Batched(model.with_proto(result), size, symbol, inputs, tuple(rewritten))


def _leading(model: Model) -> dict[str, Dim]:
    """Dimension 0 of each input that must be fed and has one."""
    defaults = {tensor.name for tensor in model.proto.graph.initializer}
    found: dict[str, Dim] = {}
    for info in model.proto.graph.input:
        if info.name in defaults:
            continue
        dims = dims_of(info.type)
        if dims is None:
            kind = (
                "its rank is not known" if info.type.HasField("tensor_type") else "it is no tensor"
            )
            raise ModelError(
                f"input {info.name!r} has no dimension 0: {kind}", file=model.path,
                hint="--fix-shape tells the rank",
            )  # fmt: skip
        if dims:
            found[info.name] = dims[0]
    return found


def _size(leading: dict[str, Dim]) -> int:
    sizes = {dim if isinstance(dim, int) else 1 for dim in leading.values()}
    if len(sizes) > 1:
        said = [
            f"{name!r} " + (f"has {dim}" if isinstance(dim, int) else "leaves it open")
            for name, dim in leading.items()
        ]
        raise UsageError(
            f"the inputs disagree about the batch in dimension 0: {', '.join(said[:4])}",
            hint="fix what is open at the same size first; a batch elsewhere cannot be opened here",
        )
    return sizes.pop()


def _fresh(name: str, taken: set[str]) -> str:
    found, number = name, 0
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found


def _types_at(proto: ModelProto, inputs: Iterable[str], size: int) -> dict[str, TypeProto]:
    """Inferred types while the batch is the size that the model was made for."""
    bare = skeleton(proto, declared=False)
    for info in bare.graph.input:
        dims = dims_of(info.type) if info.name in inputs else None
        if dims:
            set_dims(info.type, (size, *dims[1:]))
    return value_types(infer(bare).graph)


def _set_inputs(infos: Iterable[ValueInfoProto], names: set[str], symbol: str) -> None:
    for info in infos:
        dims = dims_of(info.type) if info.name in names else None
        if dims:
            set_dims(info.type, (symbol, *dims[1:]))


def _redeclare(proto: ModelProto, reached: set[str], size: int, symbol: str) -> None:
    """Bring declared types in line: no size may stand where the batch may be another."""
    graph = proto.graph
    outputs = {info.name: dims_of(info.type) for info in graph.output}
    stale: list[tuple[ValueInfoProto, tuple[Dim, ...]]] = []
    for info in [*graph.value_info, *graph.output]:
        dims = dims_of(info.type)
        if dims and info.name in reached and not isinstance(dims[0], str):
            stale.append((info, dims))
            info.type.tensor_type.ClearField("shape")
    for node in graph.node:
        if not reached.isdisjoint(node.output):
            _forget_shapes(node)
    types = value_types(inferred_graph(proto))
    for info, dims in stale:
        found = types.get(info.name, TypeProto())
        known = inferred_dims(found)
        if info.name in outputs:
            set_dims(info.type, (_leading_output(dims[0], known, size, symbol), *dims[1:]))
        elif known is not None:
            merged = zip(known[1:], dims[1:], strict=False)
            rest = [a if a is not None else b for a, b in merged]
            set_dims(info.type, (known[0], *rest) if len(known) == len(dims) else known)


def _leading_output(declared: Dim, inferred: tuple[Dim, ...] | None, size: int, symbol: str) -> Dim:
    """Dimension 0 of an output: what inference says, else the batch where it was its size."""
    found = inferred[0] if inferred else None
    if found == symbol or (found is None and declared == size):
        return symbol
    return declared if isinstance(found, int) else None


def _forget_shapes(node: NodeProto) -> None:
    """Clear the shapes declared in a node's bodies; inference finds them again where it can."""
    for attribute in node.attribute:
        if not attribute.HasField("g"):
            continue
        body: GraphProto = attribute.g
        for info in [*body.value_info, *body.output]:
            if has_shape(info.type):
                info.type.tensor_type.ClearField("shape")
        for inner in body.node:
            _forget_shapes(inner)

"""Fixing sizes that a model leaves open: dimensions of its inputs, and all that follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from onnx import GraphProto, ModelProto, TypeProto, ValueInfoProto

from graphopt.contract import Dim
from graphopt.errors import UsageError
from graphopt.graph.closest import closest
from graphopt.graph.declared import dims_of, inferred_graph, refresh, set_dims, tensor_types
from graphopt.model import Model

Dims = dict[str, tuple[Dim, ...] | None]


def fix_shapes(
    model: Model, shapes: Mapping[str, Sequence[int]], symbols: Mapping[str, int]
) -> Model:
    """A model whose inputs have the given sizes; nothing but declared types changes.

    A symbol that a shape gives a size has it everywhere: in other inputs, outputs, value_info and
    bodies. What inference then finds takes the place of what value_info and outputs declared.

    Args:
        model: The model.
        shapes: All sizes of an input, by its name.
        symbols: Sizes of named dimensions, by their names.

    Returns:
        The very model given when it has these sizes already.

    Raises:
        UsageError: No such input or symbol, or a size that contradicts one that is fixed.
    """
    dims, sizes = resolve(model.proto, shapes, symbols)
    if not sizes and dims == {i.name: dims_of(i.type) for i in model.proto.graph.input}:
        return model
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    _substitute(proto.graph, sizes)
    for info in proto.graph.input:
        if info.name in shapes:
            set_dims(info.type, shapes[info.name])
    refresh(proto.graph, inferred_graph(proto), lambda old, new: new if _fixed(new) else old)
    return model.with_proto(proto)


def resolve(
    proto: ModelProto, shapes: Mapping[str, Sequence[int]], symbols: Mapping[str, int]
) -> tuple[Dims, dict[str, int]]:
    """What each input of the main graph is to look like, and what becomes of each symbol.

    Args:
        proto: The model.
        shapes: All sizes of an input, by its name.
        symbols: Sizes of named dimensions.

    Returns:
        Dimensions by input, None where the rank stays unknown; sizes by symbol.

    Raises:
        UsageError: See `fix_shapes`.
    """
    inputs = {info.name: info.type for info in proto.graph.input}
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in inputs:
            raise UsageError(f"{name!r} is no input of the model", hint=closest(name, inputs))
        for symbol, size in _bound(name, inputs[name], shape):
            _bind(sizes, symbol, size)
    known = [dim for kind in inputs.values() for dim in _dims(kind) if isinstance(dim, str)]
    for symbol, size in symbols.items():
        if symbol not in known:
            raise UsageError(f"no input has a dimension {symbol!r}", hint=closest(symbol, known))
        if size < 1:
            raise UsageError(f"dimension {symbol!r} cannot be {size}", hint="sizes start at 1")
        _bind(sizes, symbol, size)
    wanted: Dims = {}
    for name, kind in inputs.items():
        dims = tuple(shapes[name]) if name in shapes else dims_of(kind)
        wanted[name] = None if dims is None else tuple(_sized(dim, sizes) for dim in dims)
    return wanted, sizes


def _sized(dim: Dim, sizes: Mapping[str, int]) -> Dim:
    return sizes.get(dim, dim) if isinstance(dim, str) else dim


def _fixed(dim: Dim) -> bool:
    return isinstance(dim, int)


def _bound(name: str, kind: TypeProto, shape: Sequence[int]) -> Iterator[tuple[str, int]]:
    """What a shape says of an input's symbols, once it is found to fit the input."""
    if not kind.HasField("tensor_type"):
        raise UsageError(f"input {name!r} is no tensor, it has no shape to fix")
    dims = dims_of(kind)
    if dims is not None and len(dims) != len(shape):
        raise UsageError(
            f"input {name!r} has {len(dims)} dimensions, {len(shape)} are given", hint=shown(dims)
        )
    for axis, size in enumerate(shape):
        if size < 1:
            raise UsageError(f"dimension {axis} of input {name!r} cannot be {size}",
                             hint="sizes start at 1")  # fmt: skip
        dim = None if dims is None else dims[axis]
        if isinstance(dim, int) and dim != size:
            raise UsageError(f"dimension {axis} of input {name!r} is fixed at {dim}, not {size}")
        if isinstance(dim, str):
            yield dim, size


def _bind(sizes: dict[str, int], symbol: str, size: int) -> None:
    if sizes.setdefault(symbol, size) != size:
        raise UsageError(f"dimension {symbol!r} would be both {sizes[symbol]} and {size}")


def _dims(kind: TypeProto) -> Iterator[Dim]:
    for tensor in tensor_types(kind):
        yield from dims_of(tensor) or ()


def _substitute(graph: GraphProto, sizes: Mapping[str, int]) -> None:
    """Write sizes in place of symbols, in every declared type."""
    infos: list[ValueInfoProto] = [*graph.input, *graph.output, *graph.value_info]
    for info in infos:
        for kind in tensor_types(info.type):
            dims = dims_of(kind) or ()
            if any(isinstance(dim, str) and dim in sizes for dim in dims):
                set_dims(kind, (_sized(dim, sizes) for dim in dims))
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _substitute(attribute.g, sizes)


def shown(dims: Sequence[Dim] | None) -> str:
    """A shape for people: `[N,3,?,?]`."""
    if dims is None:
        return "of any shape"
    return "[" + ",".join("?" if dim is None else str(dim) for dim in dims) + "]"

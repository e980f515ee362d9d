"""A main graph at work while its baked-in batch is taken out: what is known, and new nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper

from graphopt.contract import Array, Dim
from graphopt.graph.declared import inferred_dims
from graphopt.graph.skeleton import KEPT_BYTES
from graphopt.model import Model, tensor_from_array
from graphopt.model.names import model_names
from graphopt.model.nodes import STANDARD_DOMAINS

_STATE_BYTES = 1 << 24
"""Constants up to this size are compared with themselves or zero."""


@dataclass(frozen=True, slots=True)
class SizeVector:
    """A vector of sizes: one constant, or parts that a Concat joins.

    Attributes:
        parts: Names of the parts, in order.
        owners: For each element, the number of the part that it lies in.
        values: Each element, None where it is not constant.
    """

    parts: tuple[str, ...]
    owners: tuple[int, ...]
    values: tuple[int | None, ...]


@dataclass(slots=True)
class BatchWork:
    """A copy of a main graph, its nodes rewritten one by one in their order.

    Attributes:
        model: The model that the graph is of.
        graph: The copy.
        source: An input whose dimension 0 is the batch.
        size: The batch that the model was made for.
        types: Types of values at that batch.
        reached: Values that depend on a batched input so far.
        before: New nodes to stand before the one at hand.
        first: New nodes to stand before all others.
    """

    model: Model
    graph: GraphProto
    source: str
    size: int
    types: Mapping[str, TypeProto]
    reached: set[str]
    before: list[NodeProto] = field(default_factory=list)
    first: list[NodeProto] = field(default_factory=list)
    _constants: dict[str, TensorProto | NodeProto] = field(default_factory=dict)
    _concats: dict[str, NodeProto] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _batch: str = ""

    def __post_init__(self) -> None:
        overridable = {info.name for info in self.graph.input}
        for tensor in self.graph.initializer:
            if tensor.name not in overridable:
                self._constants[tensor.name] = tensor
        for node in self.graph.node:
            if node.domain not in STANDARD_DOMAINS or not node.output:
                continue
            if node.op_type in ("Constant", "ConstantOfShape"):
                self._constants[node.output[0]] = node
            elif node.op_type == "Concat" and node.attribute and node.attribute[0].i in (0, -1):
                self._concats[node.output[0]] = node
        self._taken = set(model_names(self.model.proto))

    def dims(self, name: str) -> tuple[Dim, ...] | None:
        """A value's dimensions at the batch that the model was made for."""
        held = self._constants.get(name)
        if isinstance(held, TensorProto):
            return tuple(held.dims)
        return inferred_dims(self.types.get(name, TypeProto()))

    def is_zero(self, name: str) -> bool:
        """True for a constant of nothing but zeros."""
        held = self._constants.get(name)
        if isinstance(held, NodeProto) and held.op_type == "ConstantOfShape":
            return all(not numpy_helper.to_array(a.t).any() for a in held.attribute)
        array = self._constant(name, _STATE_BYTES)
        return array is not None and not array.any()

    def sizes(self, node: NodeProto, index: int) -> SizeVector | None:
        """An input that states sizes; None where it is neither a constant nor a Concat of parts.

        The parts of a Concat must be constants, or vectors of known length.
        """
        name = node.input[index] if index < len(node.input) else ""
        concat = self._concats.get(name)
        parts = tuple(concat.input) if concat is not None else (name,)
        owners: list[int] = []
        values: list[int | None] = []
        for number, part in enumerate(parts):
            found = self._elements(part)
            if found is None or (concat is None and None in found):
                return None
            owners += [number] * len(found)
            values += found
        return SizeVector(parts, tuple(owners), tuple(values))

    def replaced(self, vector: SizeVector, new: Mapping[int, int]) -> str:
        """The vector with some constant elements changed, before the node at hand."""
        parts = list(vector.parts)
        for number in {vector.owners[index] for index in new}:
            parts[number] = self.store([
                new.get(index, value or 0)
                for index, value in enumerate(vector.values) if vector.owners[index] == number
            ])  # fmt: skip
        return self._joined(parts)

    def with_batch(self, vector: SizeVector) -> str:
        """The vector with the batch of an input as its first, constant element."""
        rest = [
            value or 0
            for owner, value in zip(vector.owners[1:], vector.values[1:], strict=True)
            if owner == vector.owners[0]
        ]
        parts = [self._batch_size(), *([self.store(rest)] if rest else [])]
        return self._joined([*parts, *vector.parts[vector.owners[0] + 1 :]])

    def store(self, values: Sequence[int]) -> str:
        """A Constant node before the one at hand; gives its output."""
        name = self._fresh("sizes")
        tensor = numpy_helper.from_array(np.array(values, np.int64), name)
        self.before.append(helper.make_node("Constant", [], [name], value=tensor))
        return name

    def row(self, name: str) -> str:
        """One row of a constant that has the same row for each of the batch; empty if not so."""
        array = self._constant(name, _STATE_BYTES)
        if array is None or array.ndim < 2 or array.shape[0] != self.size:
            return ""
        if not (array == array[:1]).all():
            return ""
        row = self._fresh(f"{name}_row")
        tensor = tensor_from_array(array[:1], row)
        self.before.append(helper.make_node("Constant", [], [row], value=tensor))
        return row

    def repeated(self, value: str, rank: int) -> str:
        """A value with 1 as its dimension 0, repeated for the batch; gives the Expand's output."""
        shape = self._joined([self._batch_size(), self.store([1] * (rank - 1))])
        name = self._fresh(f"{value}_batch")
        self.before.append(helper.make_node("Expand", [value, shape], [name]))
        return name

    def _elements(self, name: str) -> list[int | None] | None:
        array = self._constant(name, KEPT_BYTES)
        if array is not None:
            plain = array.ndim == 1 and array.dtype.kind in "iu"
            return [int(value) for value in array] if plain else None
        length = self.dims(name) or ()
        if len(length) != 1 or not isinstance(length[0], int):
            return None
        return [None] * length[0]

    def _constant(self, name: str, limit: int) -> Array | None:
        held = self._constants.get(name)
        if isinstance(held, NodeProto):
            stored = {attribute.name: attribute for attribute in held.attribute}
            if held.op_type == "ConstantOfShape":
                return None
            if "value_ints" in stored:
                return np.array(stored["value_ints"].ints, np.int64)
            held = stored["value"].t if "value" in stored else None
        if held is None:
            return None
        data = self.model.tensor(held)
        return data.array() if data.nbytes <= limit else None

    def _joined(self, parts: Sequence[str]) -> str:
        if len(parts) == 1:
            return parts[0]
        name = self._fresh("shape")
        self.before.append(helper.make_node("Concat", parts, [name], axis=0))
        return name

    def _batch_size(self) -> str:
        """The batch as a vector of one element, computed once."""
        if not self._batch:
            shape, index = self._fresh("batch_shape"), self._fresh("batch_axis")
            self._batch = self._fresh("batch_size")
            zero = numpy_helper.from_array(np.array([0], np.int64), index)
            self.first = [
                helper.make_node("Shape", [self.source], [shape]),
                helper.make_node("Constant", [], [index], value=zero),
                helper.make_node("Gather", [shape, index], [self._batch], axis=0),
            ]
        return self._batch

    def _fresh(self, hint: str) -> str:
        name, number = hint, 0
        while name in self._taken:
            number += 1
            name = f"{hint}_{number}"
        self._taken.add(name)
        return name

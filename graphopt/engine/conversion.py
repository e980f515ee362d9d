"""What a conversion changes, step by step, and what it says of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from onnx import ModelProto, TensorProto

from graphopt.graph import raise_opset
from graphopt.graph.declared import dims_of
from graphopt.graph.dynamic_batch import Batched, open_batch
from graphopt.graph.fix_shapes import fix_shapes, shown
from graphopt.graph.inline import inline_functions
from graphopt.model import Model
from graphopt.model.embed import embed
from graphopt.model.tensors import model_tensors

INSIDE_BYTES = 128
"""Tensors up to this size stay inside whatever the threshold: ONNX Runtime reads shapes out of them
while it loads a model, and cannot read them from another file."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What is to change; applied in this order.

    Attributes:
        inline_functions: Replace calls of local functions by what they stand for.
        opset: Raise the standard opset to this one.
        shapes: All sizes of an input, by its name.
        dims: Sizes of named dimensions.
        dynamic_batch: Open dimension 0 of every input, also of those that `shapes` fixes.
        external: Bytes from which weights go to a file beside the model, smaller ones inside it;
            "inside" takes them all into it; None leaves them where they are.
    """

    inline_functions: bool = False
    opset: int | None = None
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)
    dynamic_batch: bool = False
    external: int | Literal["inside"] | None = None

    @property
    def fixes(self) -> bool:
        """True when sizes are to be fixed."""
        return bool(self.shapes or self.dims)

    @property
    def threshold(self) -> int | None:
        """Bytes from which a tensor goes outside when the result is saved."""
        if self.external is None or self.external == "inside":
            return None
        return max(self.external, INSIDE_BYTES + 1)


@dataclass(slots=True)
class Steps:
    """How far a conversion has come.

    Attributes:
        result: The model as it is now.
        closed: The model before its batch was opened; the result itself where it was not.
        batched: What opening the batch gave.
        changes: What changed beside the signature, a sentence each.
    """

    result: Model
    closed: Model
    batched: Batched | None = None
    changes: list[str] = field(default_factory=list)


def apply(model: Model, wanted: Conversion, progress: Callable[[str], None]) -> Steps:
    """Change a model as asked for; nothing is proven here.

    Args:
        model: The model; it is not changed.
        wanted: What to change.
        progress: Told in a few words what is being done.

    Raises:
        UsageError: Something that does not fit the model.
        ModelError: The model cannot be converted.
    """
    steps = Steps(model, model)
    if wanted.inline_functions and model.proto.functions:
        progress("inlining functions")
        steps.result = inline_functions(model)
        steps.changes.append(f"local functions inlined: {len(model.proto.functions):,}")
    if wanted.opset is not None:
        progress("raising the opset")
        steps.result = raise_opset(steps.result, wanted.opset)
        if steps.result.opsets.get("") != model.opsets.get(""):
            steps.changes.append(f"opset {model.opsets.get('')} -> {wanted.opset}")
    if wanted.fixes:
        progress("fixing sizes")
        steps.result = fix_shapes(steps.result, wanted.shapes, wanted.dims)
    steps.closed = steps.result
    if wanted.dynamic_batch:
        progress("opening the batch")
        steps.batched = open_batch(steps.result)
        steps.result = steps.batched.model
    if steps.batched is not None and steps.batched.rewritten:
        counts = Counter(steps.batched.rewritten)
        listed = ", ".join(f"{number} {op}" for op, number in sorted(counts.items()))
        steps.changes.append(f"nodes that had the batch baked in: {listed}")
    if wanted.external is not None:
        steps.changes += _moves(steps.result, wanted)
        steps.result = embed(steps.result, wanted.threshold)
    return steps


def declared_changes(before: ModelProto, after: ModelProto) -> list[str]:
    """Inputs and outputs whose shapes changed, a sentence each."""
    found = []
    for side in ("input", "output"):
        old = {info.name: info.type for info in getattr(before.graph, side)}
        for info in getattr(after.graph, side):
            if info.name in old and info.type != old[info.name]:
                was, now = shown(dims_of(old[info.name])), shown(dims_of(info.type))
                found.append(f"{side} {info.name} {was} -> {now}")
    return found


def _moves(model: Model, wanted: Conversion) -> list[str]:
    """How many tensors change their place."""
    out = into = 0
    for proto in model_tensors(model.proto):
        outside = proto.data_location == TensorProto.EXTERNAL
        size = model.tensor(proto).nbytes
        goes = wanted.threshold is not None and size >= wanted.threshold
        out += goes and not outside and proto.data_type != TensorProto.STRING
        into += outside and not goes
    found = [f"tensors that go to a file beside the model: {out:,}"] if out else []
    return found + ([f"tensors that come inside the model: {into:,}"] if into else [])

"""What converting and extracting share: how to prove, and what is given back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from onnx import ModelProto, TensorProto, TypeProto, ValueInfoProto

from graphopt.contract import GraphView
from graphopt.errors import UsageError
from graphopt.graph import annotate, build_program, graph_view
from graphopt.graph.declared import dims_of
from graphopt.graph.fix_shapes import shown
from graphopt.model import Model
from graphopt.report import Verification
from graphopt.report.change import ChangeReport
from graphopt.runtime import shared_runtime
from graphopt.verify import VerifyOptions, input_specs
from graphopt.verify.inputs import Feeds, InputSpec, check_shapes
from graphopt.verify.loads import check_loads
from graphopt.verify.verifier import DEFAULT_LIMIT

DataSource = Callable[[Sequence[InputSpec]], list[Feeds]]
"""Gives the user's input sets once the inputs that must be fed are known."""

SWITCHED_OFF = Verification("not verified", "none", note="verification was switched off")


@dataclass(frozen=True, slots=True)
class ProofOptions:
    """How a change is proven.

    Attributes:
        seed: Seed of generated inputs.
        data: The user's input sets, instead of generated ones.
        shapes: Shapes that the user states for generated inputs; they never change the model.
        verify: False switches the comparison off; the report says so.
        limit: Bytes of weights above which a model is not run whole.
        progress: Told in a few words what is being done.
    """

    seed: int = 0
    data: DataSource | None = None
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    verify: bool = True
    limit: int = DEFAULT_LIMIT
    progress: Callable[[str], None] = lambda what: None

    def for_model(self, proto: ModelProto) -> VerifyOptions:
        """The same for one model.

        Raises:
            DataError: The data does not fit its inputs.
            UsageError: A shape is stated for no input of it, or contradicts the input.
        """
        if self.seed < 0:
            raise UsageError(f"seed {self.seed} is negative")
        specs = input_specs(proto)
        shapes = check_shapes(self.shapes, specs)
        for spec in specs:
            given, stated = shapes.get(spec.name), spec.shape
            if given is None or stated is None:
                continue
            fits = len(given) == len(stated) and all(
                not isinstance(dim, int) or dim == size
                for size, dim in zip(given, stated, strict=True)
            )
            if not fits:
                raise UsageError(f"input {spec.name!r} is {shown(stated)}, a shape of "
                                 f"{shown(given)} is stated")  # fmt: skip
        data = None if self.data is None else self.data(specs)
        return VerifyOptions(self.seed, data, shapes, self.limit)


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """A model changed on purpose, and the report.

    Attributes:
        model: The result; the very model given when it was as asked for.
        external_threshold: Bytes from which a tensor goes to a file beside the model when it is
            saved; None leaves every weight where it is.
    """

    model: Model
    report: ChangeReport
    external_threshold: int | None = None


def hints(model: Model) -> GraphView:
    """A model's main graph with types, which tells what input values make sense."""
    program = build_program(model)
    annotate(program, model.proto)
    return graph_view(program.main, program)


def loaded_at_least(
    found: Verification, original: Model, result: Model, options: ProofOptions
) -> Verification:
    """Load a result that nothing ran: a file that does not load is no result."""
    if found.method != "none" or found.status == "failed" or result is original:
        return found
    options.progress("loading the result")
    row = check_loads(original, result, shared_runtime(), options.limit)
    said = {"ok": "it loads", "failed": "it does not load", "not verified": ""}[row.status]
    return replace(
        found,
        status="failed" if row.status == "failed" else found.status,
        checks=(*found.checks, row),
        note="; ".join(filter(None, (found.note, said))),
    )


def change_report(
    action: Literal["convert", "extract"], original: Model, result: Model,
    changes: Sequence[str], verification: Verification, seed: int, started: float,
) -> ChangeReport:  # fmt: skip
    """The report on one change.

    Args:
        action: The command.
        original: The model given.
        result: What it became.
        changes: What changed, a sentence each.
        verification: What proves it.
        seed: Seed of generated inputs.
        started: `time.perf_counter()` when the work began.
    """
    statuses: dict[str, Literal["verified", "unverified", "failed"]] = {
        "ok": "verified", "not verified": "unverified", "failed": "failed",
    }  # fmt: skip
    graph = result.proto.graph
    defaults = {tensor.name for tensor in graph.initializer}
    return ChangeReport(
        action=action,
        status=statuses[verification.status],
        changed=bool(changes),
        source=str(original.path) if original.path else None,
        source_sha256=original.source.sha256 if original.source else None,
        output=None,
        seed=seed,
        changes=tuple(changes),
        inputs=tuple(described(info) for info in graph.input if info.name not in defaults),
        outputs=tuple(described(info) for info in graph.output),
        verification=verification,
        seconds=round(time.perf_counter() - started, 3),
    )


def described(info: ValueInfoProto) -> str:
    """An input or output for people: `x float32[N,3,?,?]`."""
    return f"{info.name} {type_text(info.type)}"


def type_text(kind: TypeProto) -> str:
    """A type for people: `float32[N,3]`, `sequence of int64[?]`."""
    if kind.HasField("tensor_type"):
        number = kind.tensor_type.elem_type
        known = number in TensorProto.DataType.values()
        name = TensorProto.DataType.Name(number).lower() if known else f"type {number}"
        name = {"float": "float32", "double": "float64"}.get(name, name)
        return f"{name}{shown(dims_of(kind))}" if kind.tensor_type.HasField("shape") else name
    if kind.HasField("sequence_type"):
        return f"sequence of {type_text(kind.sequence_type.elem_type)}"
    if kind.HasField("optional_type"):
        return f"optional {type_text(kind.optional_type.elem_type)}"
    return kind.WhichOneof("value") or "of unknown type"

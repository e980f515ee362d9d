"""Changing a model on purpose (opset, shapes, batch, functions, external data), and the proof."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from onnx import ModelProto, TypeProto, ValueInfoProto

from graphopt.contract import Dim, Effect
from graphopt.engine.changing import (
    SWITCHED_OFF,
    ChangeResult,
    ProofOptions,
    change_report,
    hints,
    loaded_at_least,
)
from graphopt.engine.conversion import Conversion, Steps, apply, declared_changes
from graphopt.errors import UsageError
from graphopt.graph.declared import dims_of, set_dims
from graphopt.graph.fix_shapes import resolve, shown
from graphopt.model import Model, SaveOptions, load_model, save_model
from graphopt.model.messages import copy_but
from graphopt.report import Check, Verification
from graphopt.runtime import shared_runtime
from graphopt.verify import Baseline, Verifier, VerifyOptions, signature_changes
from graphopt.verify.batches import prove_batches


def convert_model(
    model: Model, wanted: Conversion, options: ProofOptions | None = None
) -> ChangeResult:
    """Change a model as asked for, and prove that nothing else changed.

    Args:
        model: The model; it is not changed.
        wanted: What to change.
        options: How to prove it; data and shapes are those of the inputs as they are fixed, at the
            batch that the model was made for.

    Raises:
        UsageError: Nothing is asked for, or something that does not fit the model.
        ModelError: The model cannot be converted.
        DataError: The data does not fit the model.
    """
    if wanted == Conversion():
        raise UsageError("nothing to convert", hint="say what to change, such as --opset 17")
    options = options or ProofOptions()
    started = time.perf_counter()
    steps = apply(model, wanted, options.progress)
    with _staged(steps.result, wanted, options.limit) as staged:
        found = SWITCHED_OFF
        if options.verify:
            found = _prove(model, steps, staged, wanted, options)
        found = loaded_at_least(found, model, staged, options)
    changes = [*declared_changes(model.proto, steps.result.proto), *steps.changes]
    report = change_report("convert", model, steps.result, changes, found, options.seed, started)
    return ChangeResult(steps.result, report, wanted.threshold)


@contextlib.contextmanager
def _staged(result: Model, wanted: Conversion, limit: int) -> Iterator[Model]:
    """The result as it will lie on disk: ONNX Runtime does not read every weight from outside."""
    if wanted.threshold is None or result.weight_bytes > limit:
        yield result
        return
    with tempfile.TemporaryDirectory(prefix="graphopt-verify-") as folder:
        path = Path(folder, "staged.onnx")
        staged = load_model(save_model(result, path, SaveOptions(wanted.threshold)))
        yield staged
        if staged.files is not None:
            staged.files.close()


def _prove(
    model: Model, steps: Steps, staged: Model, wanted: Conversion, options: ProofOptions
) -> Verification:
    """Compare with the original, declared to take inputs of the same shapes."""
    reference = _redeclared(model, steps.closed.proto)
    proof = options.for_model(reference.proto)
    signature = check_signature(model.proto, steps, wanted)
    options.progress("comparing with the original")
    runtime = shared_runtime()
    if steps.batched is not None:
        batched = replace(steps.batched, model=staged)
        found = prove_batches(reference, batched, hints(reference), runtime, proof)
    else:
        with Verifier(reference, hints(reference), runtime, proof) as verifier:
            found = verifier.check(staged, Effect.ROUNDING)
            if found.status == "not verified" and staged is not steps.result:
                # It runs and nothing differs; that its weights are the same shows where they were.
                found = verifier.check(steps.result, Effect.ROUNDING)
            if wanted.fixes and verifier.established is not None:
                _correct_outputs(steps, verifier.established)
    checks = (signature, *(row for row in found.checks if row.what != "signature"))
    failed = "failed" in (signature.status, found.status)
    found = replace(found, status="failed" if failed else found.status, checks=checks)
    if found.status == "not verified" and found.method == "none" and wanted.fixes:
        return _blamed(model, found, options)
    return found


def _redeclared(model: Model, like: ModelProto) -> Model:
    """The model's own nodes and weights, with the declared inputs and outputs of another."""
    if not signature_changes(model.proto, like):
        return model
    proto = ModelProto()
    copy_but(proto, model.proto, {"graph"})
    copy_but(proto.graph, model.proto.graph, {"input", "output"})
    proto.graph.input.extend(like.graph.input)
    proto.graph.output.extend(like.graph.output)
    return model.with_proto(proto)


def _blamed(model: Model, found: Verification, options: ProofOptions) -> Verification:
    """Tell a model that does not run at the sizes asked for from one that does not run at all."""
    if model.weight_bytes > options.limit or options.data is not None:
        return found
    proof = VerifyOptions(seed=options.seed, limit=options.limit)
    with Verifier(model, hints(model), shared_runtime(), proof) as verifier:
        if not isinstance(verifier.baseline(), Baseline):
            return found
    reason = found.note.removeprefix("the original does not run on generated inputs: ")
    row = Check("sizes", "failed", f"the model does not run at the sizes asked for: {reason}")
    return replace(found, status="failed", checks=(*found.checks, row))


def check_signature(before: ModelProto, steps: Steps, wanted: Conversion) -> Check:
    """Check that exactly what was asked for changed in the signature.

    Inputs have the sizes asked for and an open batch; outputs may follow: an open dimension may be
    fixed, dimension 0 may be opened. Names, order, element types and defaults stay.
    """
    after = steps.result.proto
    expected = resolve(before, wanted.shapes, wanted.dims)[0]
    opened = steps.batched
    if opened is not None:
        for name in opened.inputs:
            first, *rest = expected[name] or (None,)
            expected[name] = (first if isinstance(first, str) else opened.symbol, *rest)
    problems = []
    for info in after.graph.input:
        if dims_of(info.type) != expected.get(info.name):
            problems.append(
                f"input {info.name} is {shown(dims_of(info.type))}, not "
                f"{shown(expected.get(info.name))}"
            )
    old = {info.name: dims_of(info.type) for info in before.graph.output}
    for info in after.graph.output:
        was, now = old.get(info.name), dims_of(info.type)
        if not _follows(was, now, fixes=wanted.fixes, opens=opened is not None):
            problems.append(f"output {info.name} became {shown(now)}, was {shown(was)}")
    problems += signature_changes(_shapeless(before), _shapeless(after))
    return Check("signature", "failed" if problems else "ok", "; ".join(problems))


def _follows(
    was: tuple[Dim, ...] | None, now: tuple[Dim, ...] | None, *, fixes: bool, opens: bool
) -> bool:
    if was is None or now is None or len(was) != len(now):
        return was == now or fixes
    return all(
        a == b or (fixes and not isinstance(b, str)) or (opens and axis == 0)
        for axis, (a, b) in enumerate(zip(was, now, strict=True))
    )


def _shapeless(proto: ModelProto) -> ModelProto:
    """What a signature says beside shapes."""
    bare = ModelProto()
    for source, target in ((proto.graph.input, bare.graph.input),
                           (proto.graph.output, bare.graph.output)):  # fmt: skip
        for info in source:
            kind = TypeProto()
            kind.CopyFrom(info.type)
            if kind.HasField("tensor_type"):
                kind.tensor_type.ClearField("shape")
            target.append(ValueInfoProto(name=info.name, type=kind))
    inputs = {info.name for info in proto.graph.input}
    for tensor in proto.graph.initializer:
        if tensor.name in inputs:
            bare.graph.initializer.add(name=tensor.name)
    return bare


def _correct_outputs(steps: Steps, baseline: Baseline) -> None:
    """Open a declared size of an output that no run bears out: inference was silent there."""
    wrong: dict[str, tuple[Dim, ...]] = {}
    for info in steps.result.proto.graph.output:
        dims = dims_of(info.type)
        shapes = [getattr(out.get(info.name), "shape", None) for out in baseline.outputs]
        if dims is None or any(s is None or len(s) != len(dims) for s in shapes):
            continue
        fitting = tuple(
            dim if not isinstance(dim, int) or all(s[axis] == dim for s in shapes if s) else None
            for axis, dim in enumerate(dims)
        )
        if fitting != dims:
            wrong[info.name] = fitting
    if not wrong:
        return
    proto = ModelProto()
    proto.CopyFrom(steps.result.proto)
    for info in proto.graph.output:
        if info.name in wrong:
            set_dims(info.type, wrong[info.name])
    steps.result = steps.result.with_proto(proto)

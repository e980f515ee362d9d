"""The main job: a model and a recipe in, a proven model and a report out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata

from graphopt.engine.attempt import OptimizeOptions, attempt, status_of
from graphopt.engine.recipe import Recipe
from graphopt.errors import UsageError
from graphopt.graph import measure
from graphopt.graph.outputs import keep_outputs
from graphopt.model import Model
from graphopt.model.provenance import with_provenance
from graphopt.report import Report, StageReport
from graphopt.report.requirement import decide

_VERSIONS_OF = ("graphopt", "onnx", "onnx-graphsurgeon", "numpy", "onnxruntime-gpu", "onnxruntime")


@dataclass(frozen=True, slots=True)
class OptimizeResult:
    """A result and its report.

    Attributes:
        model: The optimised model; the very model given when nothing was changed and no provenance
            was asked for.
    """

    model: Model
    report: Report


def optimize_model(
    model: Model, recipe: Recipe, options: OptimizeOptions | None = None
) -> OptimizeResult:
    """Run a recipe on a model, prove the result, and tell what was done.

    Raises:
        ModelError: The model's graph cannot be linked, or its weights cannot be read.
        DataError: The user's data does not run.
        PassError: A pass raised.
        UsageError: A pattern fits no node, an output is none, or the opset cannot be had.
    """
    options = options or OptimizeOptions()
    if options.seed < 0:
        raise UsageError(f"seed {options.seed} is negative")
    started = time.perf_counter()
    options.progress("reading the graph")
    kept = model if options.keep_outputs is None else keep_outputs(model, options.keep_outputs)
    found = attempt(kept, recipe, options)
    result, stages = found.result, found.stages
    before = measure(model, found.shapes)
    report = Report(
        status=status_of(stages),
        changed=result is not model,
        source=str(model.path) if model.path else None,
        source_sha256=model.source.sha256 if model.source else None,
        output=None,
        recipe=recipe.name,
        recipe_digest=recipe.digest,
        seed=options.seed,
        before=before,
        after=before if result is model else measure(result, found.shapes),
        stages=tuple(stages),
        warnings=tuple(_warnings(stages, found.conflicts)),
        versions=dict(_installed()),
        seconds=round(time.perf_counter() - started, 3),
        dropped_outputs=_dropped(model, kept),
        excluded=found.excluded,
    )
    return _signed(result, report, options)


def _signed(result: Model, report: Report, options: OptimizeOptions) -> OptimizeResult:
    """The result with its provenance where that is asked for, and what was required of it."""
    if options.provenance:
        result = with_provenance(result, report)
        after = replace(report.after, file_bytes=result.file_bytes)
        report = replace(report, after=after)
    outcomes = tuple(decide(requirement, report) for requirement in options.requirements)
    return OptimizeResult(result, replace(report, requirements=outcomes))


def _dropped(model: Model, kept: Model) -> tuple[str, ...]:
    names = {info.name for info in kept.proto.graph.output}
    return tuple(info.name for info in model.proto.graph.output if info.name not in names)


def _warnings(stages: Sequence[StageReport], conflicts: Sequence[str]) -> list[str]:
    found = []
    for number, stage in enumerate(stages, 1):
        if not stage.fixed_point:
            found.append(
                f"stage {number} stopped after {stage.rounds} rounds, not at a fixed point"
            )
        if stage.taken_back:
            found.append(f"stage {number} was taken back: {stage.taken_back}")
        for item in stage.left_out:
            found.append(f"left out: {item.pass_name} at {item.label}: {item.reason}")
        found += stage.idle_lines()
    if conflicts:
        listed = ", ".join(conflicts[:3]) + (", ..." if len(conflicts) > 3 else "")
        found.append(
            f"{len(conflicts)} declared types contradict inference and were not trusted: {listed}"
        )
    return found


@cache
def _installed() -> dict[str, str]:
    versions = {}
    for name in _VERSIONS_OF:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions

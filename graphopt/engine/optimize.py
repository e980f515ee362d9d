"""The main job: a model and a recipe in, a proven model and a report out."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Literal

from graphopt.contract import Context, Target
from graphopt.engine.pipeline import Progress, StageRunner
from graphopt.engine.recipe import Recipe
from graphopt.errors import UsageError
from graphopt.graph import (
    Program,
    annotate,
    build_program,
    export_program,
    graph_view,
    measure,
    raise_opset,
)
from graphopt.graph.excluding import exclude_nodes
from graphopt.graph.outputs import keep_outputs
from graphopt.model import Model
from graphopt.model.provenance import with_provenance
from graphopt.report import Report, StageReport
from graphopt.report.requirement import Requirement, decide
from graphopt.runtime import NodeEvaluator, shared_runtime
from graphopt.verify import Verifier, VerifyOptions
from graphopt.verify.inputs import Feeds
from graphopt.verify.loads import check_loads
from graphopt.verify.verifier import DEFAULT_LIMIT

_VERSIONS_OF = ("graphopt", "onnx", "onnx-graphsurgeon", "numpy", "onnxruntime-gpu", "onnxruntime")


@dataclass(frozen=True, slots=True)
class OptimizeOptions:
    """How a recipe is run and proven.

    Attributes:
        seed: Seed of everything random.
        data: The user's input sets for verification, instead of generated ones.
        shapes: Shapes that the user states for generated inputs; they never change the model.
        verify: False switches the comparison off; the report says so.
        verify_limit: Bytes of weights above which only what changed is run, region by region.
        target: What the result is meant to run on.
        opset: Raise the standard opset to this one first. None leaves it; so does "auto", until a
            pass asks for a newer one.
        exclude_nodes: Patterns of nodes that are left alone; see graph.excluding.
        keep_outputs: The only outputs to keep; None keeps them all.
        requirements: What the report says of the result, met or not.
        provenance: Write where the result comes from into its metadata.
        progress: Told in a few words what is being done.
    """

    seed: int = 0
    data: Sequence[Feeds] | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    verify: bool = True
    verify_limit: int = DEFAULT_LIMIT
    target: Target = field(default_factory=Target)
    opset: int | Literal["auto"] | None = None
    exclude_nodes: Sequence[str] = ()
    keep_outputs: Collection[str] | None = None
    requirements: Sequence[Requirement] = ()
    provenance: bool = False
    progress: Progress = lambda what: None


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
    given = raise_opset(kept, options.opset) if isinstance(options.opset, int) else kept
    program = build_program(given)
    annotate(program, given.proto)
    excluded = exclude_nodes(program, options.exclude_nodes)
    stages, shapes = _run(program, kept, recipe, options)
    result = export_program(program)
    stages = _loaded(stages, kept, result, options)
    before = measure(model, shapes)
    report = Report(
        status=_status(stages),
        changed=result is not model,
        source=str(model.path) if model.path else None,
        source_sha256=model.source.sha256 if model.source else None,
        output=None,
        recipe=recipe.name,
        recipe_digest=recipe.digest,
        seed=options.seed,
        before=before,
        after=before if result is model else measure(result, shapes),
        stages=tuple(stages),
        warnings=tuple(_warnings(stages, program.shape_conflicts)),
        versions=_versions(),
        seconds=round(time.perf_counter() - started, 3),
        dropped_outputs=_dropped(model, kept),
        excluded=excluded,
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


def _loaded(
    stages: list[StageReport], original: Model, result: Model, options: OptimizeOptions
) -> list[StageReport]:
    """Load a result that nothing ran: a file that does not load is no result."""
    last = stages[-1]
    ran = last.verification.method != "none" or _status(stages) != "unverified"
    if ran or result is original:
        return stages
    options.progress("loading the result")
    row = check_loads(original, result, shared_runtime(), options.verify_limit)
    found = last.verification
    said = {"ok": "it loads", "failed": "it does not load", "not verified": ""}[row.status]
    verification = replace(
        found,
        status="failed" if row.status == "failed" else found.status,
        checks=(*found.checks, row),
        note="; ".join(filter(None, (found.note, said))),
    )
    return [*stages[:-1], replace(last, verification=verification)]


Shapes = dict[str, tuple[int, ...]]


def _run(
    program: Program, model: Model, recipe: Recipe, options: OptimizeOptions
) -> tuple[list[StageReport], Shapes]:
    """Run every stage; give their reports, and the input shapes at which MACs are counted."""
    runtime = shared_runtime()
    context = Context(
        target=options.target, seed=options.seed, evaluate_node=NodeEvaluator(runtime)
    )
    verify_options = VerifyOptions(
        options.seed, options.data, options.shapes, options.verify_limit, options.target.provider
    )
    main = graph_view(program.main, program)
    with Verifier(model, main, runtime, verify_options) as verifier:
        used = verifier if options.verify else None
        runner = StageRunner(program, model, context, recipe.admits, used, options.progress)
        stages = [runner.run(stage) for stage in recipe.stages]
        return stages, _shapes_used(verifier, options)


def _shapes_used(verifier: Verifier, options: OptimizeOptions) -> Shapes:
    """Input shapes of the first input set, at which MACs are counted."""
    baseline = verifier.established
    if baseline is None:
        return dict(options.shapes)
    return {
        name: tuple(value.shape)
        for name, value in baseline.feeds[0].items()
        if hasattr(value, "shape")
    }


def _status(stages: Sequence[StageReport]) -> Literal["verified", "unverified", "failed"]:
    # A stage is compared with the original or, behind a lossy one, with that one's result: the
    # chain is as good as its weakest link.
    statuses = [stage.verification.status for stage in stages]
    if "failed" in statuses:
        return "failed"
    return "unverified" if "not verified" in statuses else "verified"


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


def _versions() -> dict[str, str]:
    versions = {}
    for name in _VERSIONS_OF:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions

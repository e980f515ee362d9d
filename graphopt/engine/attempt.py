"""Running a recipe on a model: once, or once more at the opset that its passes ask for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from graphopt.contract import Context, Target
from graphopt.engine.pipeline import Progress, StageRunner
from graphopt.engine.recipe import Recipe
from graphopt.errors import ModelError
from graphopt.graph import (
    Program,
    annotate,
    build_program,
    export_program,
    graph_view,
    raise_opset,
)
from graphopt.graph.excluding import exclude_nodes
from graphopt.graph.stats import every_node
from graphopt.model import Model
from graphopt.report import StageReport
from graphopt.report.requirement import Requirement
from graphopt.runtime import NodeEvaluator, shared_runtime
from graphopt.verify import Verifier, VerifyOptions
from graphopt.verify.inputs import Feeds
from graphopt.verify.loads import check_loads
from graphopt.verify.verifier import DEFAULT_LIMIT

Shapes = dict[str, tuple[int, ...]]


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
        opset: Raise the standard opset to this one first. None leaves it; "auto" raises it where a
            pass that needs a newer one then leaves fewer nodes.
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
class Attempt:
    """A recipe's result, and how it came about.

    Attributes:
        result: The optimised model; the very model given when nothing was changed.
        stages: What each stage did.
        shapes: Input shapes of the first input set, at which MACs are counted.
        conflicts: Declared types that inference contradicts.
        excluded: Nodes that were left alone.
        wanted_opset: The highest opset that a refused rewrite asked for; 0 where none did.
    """

    result: Model
    stages: list[StageReport]
    shapes: Shapes
    conflicts: list[str]
    excluded: tuple[str, ...]
    wanted_opset: int

    @property
    def nodes(self) -> int:
        """Nodes of the result, bodies and functions included, constants not."""
        return sum(node.op_type != "Constant" for node in every_node(self.result.proto))


def attempt(model: Model, recipe: Recipe, options: OptimizeOptions) -> Attempt:
    """Run a recipe at the opset that the options ask for.

    Args:
        model: What the result is compared with.
        recipe: What to do.
        options: How.

    Raises:
        ModelError: The model's graph cannot be linked, or its weights cannot be read.
        DataError: The user's data does not run.
        PassError: A pass raised.
        UsageError: A pattern fits no node, or the opset cannot be had.
    """
    if isinstance(options.opset, int):
        return _run(raise_opset(model, options.opset), model, recipe, options)
    found = _run(model, model, recipe, options)
    if options.opset is None or found.wanted_opset <= model.opsets.get("", 0):
        return found
    try:
        raised = raise_opset(model, found.wanted_opset)
    except ModelError:
        return found  # nobody insists on the newer opset
    options.progress(f"once more, at opset {found.wanted_opset}")
    other = _run(raised, model, recipe, options)
    as_good = status_of(other.stages) == status_of(found.stages)
    return other if as_good and other.nodes < found.nodes else found


def _run(given: Model, model: Model, recipe: Recipe, options: OptimizeOptions) -> Attempt:
    program = build_program(given)
    annotate(program, given.proto)
    excluded = exclude_nodes(program, options.exclude_nodes)
    stages, shapes, wanted = _staged(program, model, recipe, options)
    result = export_program(program)
    stages = _loaded(stages, model, result, options)
    return Attempt(result, stages, shapes, program.shape_conflicts, excluded, wanted)


def _staged(
    program: Program, model: Model, recipe: Recipe, options: OptimizeOptions
) -> tuple[list[StageReport], Shapes, int]:
    """Run every stage; give their reports, the inputs' shapes, and the opset that was asked for."""
    runtime = shared_runtime()
    context = Context(
        options.target, options.seed, NodeEvaluator(runtime), lambda: program.journal.revision
    )
    verify_options = VerifyOptions(
        options.seed, options.data, options.shapes, options.verify_limit, options.target.provider
    )
    main = graph_view(program.main, program)
    with Verifier(model, main, runtime, verify_options) as verifier:
        used = verifier if options.verify else None
        runner = StageRunner(program, model, context, recipe.admits, used, options.progress)
        stages = [runner.run(stage) for stage in recipe.stages]
        return stages, _shapes_used(verifier, options), runner.wanted_opset


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


def status_of(stages: Sequence[StageReport]) -> Literal["verified", "unverified", "failed"]:
    """How good the chain of stages is.

    A stage is compared with the original or, behind a lossy one, with that one's result: the
    chain is as good as its weakest link.
    """
    statuses = [stage.verification.status for stage in stages]
    if "failed" in statuses:
        return "failed"
    return "unverified" if "not verified" in statuses else "verified"


def _loaded(
    stages: list[StageReport], original: Model, result: Model, options: OptimizeOptions
) -> list[StageReport]:
    """Load a result that nothing ran: a file that does not load is no result."""
    last = stages[-1]
    ran = last.verification.method != "none" or status_of(stages) != "unverified"
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

"""Optimising one model on the command line: what is asked for, what came of it, and why not."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from graphopt.cli.console import Progress
from graphopt.cli.places import Job
from graphopt.cli.values import parse_shapes
from graphopt.errors import FileError, GraphoptError, UsageError

if TYPE_CHECKING:  # imported when they are used: --help must not wait for onnx
    from graphopt.engine import OptimizeOptions, Recipe
    from graphopt.report import Report, RequirementOutcome
    from graphopt.report.junit import Judgement


@dataclass(frozen=True)
class Request:
    """The command's options, by name."""

    models: tuple[Path, ...]
    output: str | None
    recipe: str | None
    passes: tuple[str, ...]
    exclude_nodes: tuple[str, ...]
    keep_outputs: tuple[str, ...]
    data: Path | None
    input_shapes: tuple[str, ...]
    seed: int
    external_data_root: Path | None
    requirements: tuple[str, ...]
    require_change: bool
    provenance: bool
    reports: tuple[Path, ...]
    json: bool
    quiet: bool
    verbose: bool
    verify: bool
    verify_limit: float
    allow_unverified: bool
    strict: bool
    in_place: bool
    dry_run: bool
    target: Literal["cpu", "cuda"]
    opset: str | None


@dataclass(frozen=True)
class Settings:
    """A request, understood: the same for every model.

    Attributes:
        options: All but what hangs on the model: its data, and whether the shapes fit it.
    """

    request: Request
    recipe: Recipe
    options: OptimizeOptions


@dataclass(frozen=True)
class Refusal:
    """Why a result was not written, and what to do about it (empty: nothing)."""

    reason: str
    hint: str = ""


@dataclass(frozen=True)
class Outcome:
    """A run, and why its result was not written, if so."""

    report: Report
    refusal: Refusal | None


def understand(request: Request) -> Settings:
    """Read recipe and option values, so that their mistakes show before any model is read.

    Raises:
        UsageError: A value that means nothing.
        FileError: The recipe cannot be read.
    """
    from graphopt.runtime import shared_runtime

    shared_runtime().start()  # every run needs it, and it takes as long to begin as the rest here
    from graphopt.contract import Target
    from graphopt.engine import OptimizeOptions
    from graphopt.report.requirement import check_measurable, parse_requirement

    recipe = _recipe(request)
    requirements = [parse_requirement(text) for text in request.requirements]
    check_measurable(requirements, "optimize")
    options = OptimizeOptions(
        seed=request.seed,
        shapes=parse_shapes(request.input_shapes),
        verify=request.verify,
        verify_limit=int(request.verify_limit * 2**30),
        target=Target(provider=request.target),
        opset=_opset(request.opset),
        exclude_nodes=request.exclude_nodes,
        keep_outputs=request.keep_outputs or None,
        requirements=requirements,
        provenance=request.provenance,
    )
    return Settings(request, recipe, options)


def optimize_one(settings: Settings, job: Job, progress: Progress) -> Outcome:
    """Optimise one model and write the result, unless something speaks against it.

    Raises:
        GraphoptError: It could not be done; the error names the file.
    """
    from graphopt.engine import optimize_model
    from graphopt.model import load_model, save_model
    from graphopt.verify import input_specs
    from graphopt.verify.data import load_data
    from graphopt.verify.inputs import check_shapes

    request = settings.request
    model = load_model(job.model, external_data_root=request.external_data_root)
    try:
        specs = input_specs(model.proto)
        options = dataclasses.replace(
            settings.options,
            shapes=check_shapes(settings.options.shapes, specs),
            data=None if request.data is None else load_data(request.data, specs),
            progress=progress,
        )
        result = optimize_model(model, settings.recipe, options)
        report = result.report
        refusal = refusal_of(request, report)
        if job.output is not None and refusal is None:
            progress("writing")
            if job.makes_folder:
                _make_folder(job.output.parent)
            save_model(result.model, job.output)
            report = dataclasses.replace(report, output=str(job.output))
    except GraphoptError as error:
        error.file = error.file or str(job.model)
        raise
    return Outcome(report, refusal)


def refusal_of(request: Request, report: Report) -> Refusal | None:
    """Why a result must not be written; None where it may."""
    if report.status == "failed":
        return Refusal("failed verification", "see the report (-v shows every check)")
    if report.status == "unverified" and request.verify and not request.allow_unverified:
        hint = "give --data or --input-shape, or accept it with --allow-unverified"
        return Refusal("unverified", hint)
    if report.unmet:
        return Refusal("; ".join(map(_unmet, report.unmet)))
    if request.require_change and (unchanged := _unchanged(report)):
        return unchanged
    if request.strict and report.left_out:
        return Refusal(f"{len(report.left_out)} rewrites were left out", "run without --strict")
    return None


def judgement_of(request: Request) -> Judgement:
    """What counts as a failure in a JUnit report: what does on the command line."""
    from graphopt.report.junit import Judgement

    unverified = request.allow_unverified or not request.verify
    return Judgement(unverified, request.strict, request.require_change)


def _unmet(outcome: RequirementOutcome) -> str:
    if outcome.value is None:
        return f"requirement {outcome.text!r} cannot be measured: {outcome.detail}"
    return f"requirement {outcome.text!r} is not met: {outcome.metric} is {outcome.value:.6g}"


def _unchanged(report: Report) -> Refusal | None:
    idle = report.idle_lines()
    if idle:
        return Refusal("; ".join(idle), "run without --require-change")
    if report.changed:
        return None
    return Refusal("nothing was changed", "run without --require-change; -v shows every refusal")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot be made: {error.strerror}", file=path) from error


def _recipe(request: Request) -> Recipe:
    from graphopt.engine import PassSpec, load_recipe, parse_pass, recipe_of

    specs = [PassSpec(*parse_pass(text)) for text in request.passes]
    if specs and request.recipe is None:
        return recipe_of(specs)
    return load_recipe(request.recipe or "exact").extended(specs)


def _opset(text: str | None) -> int | Literal["auto"] | None:
    if text is None or text == "auto":
        return "auto" if text else None
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"--opset {text!r} is neither a number nor auto")
    return int(text)

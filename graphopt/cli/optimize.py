"""graphopt optimize."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from graphopt.cli.console import Progress, progress_shown, show
from graphopt.cli.values import input_options, parse_shapes
from graphopt.errors import ExitCode, GraphoptError, UsageError

if TYPE_CHECKING:  # imported when they are used: --help must not wait for onnx
    from graphopt.engine import Recipe
    from graphopt.report import Report


@dataclass(frozen=True)
class Request:
    """The command's options, by name."""

    model: Path
    output: Path | None
    recipe: str | None
    passes: tuple[str, ...]
    data: Path | None
    input_shapes: tuple[str, ...]
    seed: int
    external_data_root: Path | None
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


@click.command("optimize")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write the result.")
@click.option("--recipe", metavar="NAME|FILE", help="A recipe; `exact` unless --pass is given.")
@click.option(
    "--pass",
    "passes",
    multiple=True,
    metavar="NAME[:key=value,...]",
    help="A pass to run instead of the default recipe, or after --recipe. Repeatable.",
)
@input_options
@click.option(
    "--report",
    "reports",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Write the report to a .json or .md file. Repeatable.",
)
@click.option("--json", is_flag=True, help="Print the report as JSON, and nothing else, on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("-v", "--verbose", is_flag=True, help="Every check and refusal; tracebacks.")
@click.option("--verify/--no-verify", default=True, help="Compare the result with the original.")
@click.option(
    "--verify-limit",
    type=click.FloatRange(min=0, max=1 << 20),
    default=2.0,
    show_default=True,
    metavar="GIB",
    help="Weights above which only what changed is run, region by region.",
)
@click.option("--allow-unverified", is_flag=True, help="Write a result that could not be verified.")
@click.option("--strict", is_flag=True, help="A rewrite that had to be left out is a failure.")
@click.option("--in-place", is_flag=True, help="Replace the model itself.")
@click.option("--dry-run", is_flag=True, help="Do everything but write the model.")
@click.option(
    "--target",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Execution provider that the result is meant for.",
)
@click.option(
    "--opset",
    metavar="N|auto",
    help="Raise the opset first; without it, it stays. `auto` lets passes ask for it.",
)
def command(**options: Any) -> int:
    """Make MODEL smaller and faster, and prove that it still gives the same answers.

    Every pass is checked, the result is compared with the original on the same inputs, and a
    rewrite that fails is found and left out. A result that could not be verified is not written,
    and the exit code is 1, unless --allow-unverified.
    """
    request = Request(**options)
    if math.isnan(request.verify_limit):
        raise UsageError("--verify-limit is not a number")
    output = _output(request)
    _check_reports(request)
    with progress_shown(quiet=request.quiet, verbose=request.verbose) as progress:
        report, code = _run(request, output, progress)
    if request.json:
        from graphopt.report.files import to_json

        click.echo(to_json(report), nl=False)
    elif not request.quiet:
        from graphopt.report.text import render_report

        show(render_report(report, verbose=request.verbose))
    if code == ExitCode.CHECK_FAILED:
        _say_why(request, report)
    return code


def _say_why(request: Request, report: Report) -> None:
    """One line on stderr for a run that wrote nothing, and what to do about it."""
    if report.status == "unverified":
        reason = "unverified"
        hint = "give --data or --input-shape, or accept it with --allow-unverified"
    elif report.status == "failed":
        reason, hint = "failed verification", "see the report (-v shows every check)"
    else:
        reason, hint = f"{len(report.left_out)} rewrites were left out", "run without --strict"
    click.echo(f"graphopt: error: {request.model}: {reason}; nothing was written", err=True)
    click.echo(f"graphopt: hint: {hint}", err=True)


def _run(request: Request, output: Path | None, progress: Progress) -> tuple[Report, int]:
    from graphopt.contract import Target
    from graphopt.engine import OptimizeOptions, optimize_model
    from graphopt.model import load_model, save_model
    from graphopt.report.files import write_report
    from graphopt.verify import input_specs
    from graphopt.verify.data import load_data
    from graphopt.verify.inputs import check_shapes

    recipe = _recipe(request)
    shapes = parse_shapes(request.input_shapes)
    model = load_model(request.model, external_data_root=request.external_data_root)
    try:
        specs = input_specs(model.proto)
        shapes = check_shapes(shapes, specs)
        result = optimize_model(
            model,
            recipe,
            OptimizeOptions(
                seed=request.seed,
                data=None if request.data is None else load_data(request.data, specs),
                shapes=shapes,
                verify=request.verify,
                verify_limit=int(request.verify_limit * 2**30),
                target=Target(provider=request.target),
                opset=_opset(request.opset),
                progress=progress,
            ),
        )
        code = _code(request, result.report)
        report = result.report
        if output is not None and code == ExitCode.DONE:
            progress("writing")
            save_model(result.model, output)
            report = dataclasses.replace(report, output=str(output))
    except GraphoptError as error:
        error.file = error.file or str(request.model)
        raise
    for path in request.reports:
        write_report(report, path)
    return report, code


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


def _output(request: Request) -> Path | None:
    if request.in_place and request.output is not None:
        raise UsageError("--in-place and -o exclude each other")
    if request.dry_run:
        return None
    if request.in_place:
        return request.model
    if request.output is None:
        raise UsageError("no output", hint="give -o OUT, --in-place or --dry-run")
    both = request.output.exists() and request.model.exists()
    if both and request.output.samefile(request.model):
        raise UsageError(
            "the output is the input", file=request.output, hint="say --in-place if you mean it"
        )
    return request.output


def _check_reports(request: Request) -> None:
    from graphopt.report.files import check_suffix

    for path in request.reports:
        check_suffix(path)


def _code(request: Request, report: Report) -> int:
    if report.status == "failed":
        return ExitCode.CHECK_FAILED
    if report.status == "unverified" and request.verify and not request.allow_unverified:
        return ExitCode.CHECK_FAILED
    return ExitCode.CHECK_FAILED if request.strict and report.left_out else ExitCode.DONE

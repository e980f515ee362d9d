"""graphopt optimize."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from graphopt.cli.console import progress_shown, say, show
from graphopt.cli.optimizing import Request, judgement_of, optimize_one, understand
from graphopt.cli.places import Job, Plan, plan_jobs
from graphopt.cli.values import NumberRange, input_options, output_options
from graphopt.errors import ExitCode


@click.command("optimize")
@click.argument(
    "models", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="MODEL..."
)
@click.option(
    "-o",
    "--output",
    metavar="FILE|DIR",
    help="Where to write the result: a file, or a folder (with a slash behind it, one that is made "
    "if need be).",
)
@click.option("--recipe", metavar="NAME|FILE", help="A recipe; `exact` unless --pass is given.")
@click.option(
    "--pass",
    "passes",
    multiple=True,
    metavar="NAME[:key=value,...]",
    help="A pass to run instead of the default recipe, or after --recipe. Repeatable.",
)
@click.option(
    "--exclude-node",
    "exclude_nodes",
    multiple=True,
    metavar="PATTERN",
    help="Leave alone the nodes whose name, or label as reports print it, fits a shell-style "
    "pattern. Repeatable.",
)
@click.option(
    "--keep-output",
    "keep_outputs",
    multiple=True,
    metavar="NAME",
    help="Keep this output of the model, and drop those not named. Repeatable.",
)
@input_options
@click.option(
    "--require",
    "requirements",
    multiple=True,
    metavar="CONDITION",
    help="A condition that the result must meet, such as 'nodes_ratio <= 0.9'; else nothing is "
    "written and the exit code is 1. Repeatable.",
)
@click.option(
    "--require-change", is_flag=True, help="A result with nothing changed is a failure, and so is "
    "a lossy pass that changed nothing."
)  # fmt: skip
@click.option(
    "--provenance", is_flag=True, help="Write version, recipe and source digest into the metadata."
)
@output_options(".json, .md or JUnit .xml", verbose="Every check and refusal; tracebacks.")
@click.option("--verify/--no-verify", default=True, help="Compare the result with the original.")
@click.option(
    "--verify-limit",
    type=NumberRange(min=0, max=1 << 20),
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
    """Make each MODEL smaller and faster, and prove that it still gives the same answers.

    Every pass is checked, the result is compared with the original on the same inputs, and a
    rewrite that fails is found and left out. A result that could not be verified is not written,
    and the exit code is 1, unless --allow-unverified.

    A folder stands for the .onnx files in it that are not hidden, at any depth; -o is a folder
    then, in which they lie as they do in theirs. One model's failure stops no other. The exit code
    is the worst of them all: the first of 2, 3, 4, 1 and 5 that occurs, else 0.
    """
    request = Request(**options)
    plan = plan_jobs(
        request.models, request.output, in_place=request.in_place, dry_run=request.dry_run
    )
    _check_reports(request)
    if not request.quiet:
        say(*(f"note: {line}" for line in plan.notes))
    return _several(request, plan) if plan.several else _single(request, plan.jobs[0])


def _single(request: Request, job: Job) -> int:
    """Optimise one model, print and write its report; give the exit code."""
    from graphopt.report.files import to_json, write_report

    with progress_shown(quiet=request.quiet, verbose=request.verbose) as progress:
        outcome = optimize_one(understand(request), job, progress)
    for path in request.reports:
        write_report(outcome.report, path, judgement_of(request))
    if request.json:
        click.echo(to_json(outcome.report), nl=False)
    elif not request.quiet:
        from graphopt.report.text import render_report

        show(render_report(outcome.report, verbose=request.verbose))
    refusal = outcome.refusal
    if refusal is None:
        return ExitCode.DONE
    say(f"error: {job.model}: {refusal.reason}; nothing was written")
    if refusal.hint:
        say(f"hint: {refusal.hint}")
    return ExitCode.CHECK_FAILED


def _several(request: Request, plan: Plan) -> int:
    """Optimise several models, print and write what came of them; give the exit code."""
    from graphopt.cli.batch import optimize_each
    from graphopt.report.batch import render_batch, write_batch
    from graphopt.report.files import json_text

    with progress_shown(quiet=request.quiet, verbose=request.verbose) as progress:
        batch = optimize_each(understand(request), plan.jobs, progress)
    for path in request.reports:
        write_batch(batch, path, judgement_of(request))
    if request.json:
        click.echo(json_text(batch.to_dict()), nl=False)
    elif not request.quiet:
        show(render_batch(batch))
    return batch.exit_code


def _check_reports(request: Request) -> None:
    from graphopt.report.files import check_suffix

    for path in request.reports:
        check_suffix(path)

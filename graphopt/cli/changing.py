"""What `convert` and `extract` share: options, the proof they ask for, writing, what is printed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from graphopt.cli.console import Progress, progress_shown, say, show
from graphopt.cli.values import NumberRange, input_options, parse_shapes
from graphopt.errors import ExitCode, GraphoptError, UsageError

if TYPE_CHECKING:  # imported when they are used: --help must not wait for onnx
    from graphopt.engine.changing import ChangeResult, ProofOptions
    from graphopt.model import Model
    from graphopt.report.change import ChangeReport

_SAID = 200
"""Characters of what a runtime said that fit into an error's one line."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Request:
    """The options that both commands have, by name."""

    model: Path
    output: Path
    data: Path | None
    input_shapes: tuple[str, ...]
    seed: int
    external_data_root: Path | None
    json: bool
    quiet: bool
    verbose: bool
    verify: bool
    verify_limit: float
    allow_unverified: bool


def change_options(command: F) -> F:
    """The model, the output, and how the change is proven and shown."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


Change = Callable[["Model", "ProofOptions"], "ChangeResult"]


def carry_out(request: Request, change: Change) -> int:
    """Change a model, write the result unless something speaks against it, and say what was done.

    Args:
        request: The command's options.
        change: Makes the result of the model and the way to prove it.

    Returns:
        The exit code.

    Raises:
        GraphoptError: It could not be done; the error names the file.
    """
    _check_output(request)
    with progress_shown(quiet=request.quiet, verbose=request.verbose) as progress:
        report, refusal = _run(request, change, progress)
    if request.json:
        from graphopt.report.files import json_text

        click.echo(json_text(report.to_dict()), nl=False)
    elif not request.quiet:
        from graphopt.report.change import render_change

        show(render_change(report, verbose=request.verbose))
    if not refusal:
        return ExitCode.DONE
    reason, hint = refusal
    say(f"error: {request.model}: {reason}; nothing was written", f"hint: {hint}")
    return ExitCode.CHECK_FAILED


def _check_output(request: Request) -> None:
    both = request.output.exists() and request.model.exists()
    if both and request.output.samefile(request.model):
        raise UsageError("the output is the input", file=request.output, hint="name another file")


def _run(
    request: Request, change: Change, progress: Progress
) -> tuple[ChangeReport, tuple[str, str] | None]:
    from graphopt.engine.changing import ProofOptions
    from graphopt.model import SaveOptions, load_model, save_model
    from graphopt.verify.data import load_data

    data = request.data
    proof = ProofOptions(
        seed=request.seed,
        data=None if data is None else lambda specs: load_data(data, specs),
        shapes=parse_shapes(request.input_shapes),
        verify=request.verify,
        limit=int(request.verify_limit * 2**30),
        progress=progress,
    )
    model = load_model(request.model, external_data_root=request.external_data_root)
    try:
        result = change(model, proof)
        report = result.report
        refusal = _refusal(request, report)
        if refusal is None:
            progress("writing")
            save_model(result.model, request.output, SaveOptions(result.external_threshold))
            report = dataclasses.replace(report, output=str(request.output))
    except GraphoptError as error:
        error.file = error.file or str(request.model)
        raise
    return report, refusal


def _refusal(request: Request, report: ChangeReport) -> tuple[str, str] | None:
    """Why a result must not be written, and what to do about it; None where it may."""
    if report.status == "failed":
        failed = report.verification.failures()
        first = f" ({failed[0].what}: {failed[0].detail[:_SAID]})" if failed else ""
        return f"failed verification{first}", "-v shows every check"
    if report.status == "unverified" and request.verify and not request.allow_unverified:
        note = report.verification.note
        hint = "give --data or --input-shape, or accept it with --allow-unverified"
        return f"unverified ({note})" if note else "unverified", hint
    return None


_OPTIONS = (
    click.argument("model", type=click.Path(path_type=Path)),
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        required=True,
        help="Where to write the result.",
    ),
    input_options,
    click.option(
        "--json", is_flag=True, help="Print the report as JSON, and nothing else, on stdout."
    ),
    click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
    click.option("-v", "--verbose", is_flag=True, help="Every check; tracebacks."),
    click.option(
        "--verify/--no-verify", default=True, help="Compare the result with the original."
    ),
    click.option(
        "--verify-limit",
        type=NumberRange(min=0, max=1 << 20),
        default=2.0,
        show_default=True,
        metavar="GIB",
        help="Weights above which the models are not run whole.",
    ),
    click.option(
        "--allow-unverified", is_flag=True, help="Write a result that could not be verified."
    ),
)

"""graphopt doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphopt.cli.console import Progress, progress_shown, show
from graphopt.errors import ExitCode, GraphoptError

if TYPE_CHECKING:
    from graphopt.report.findings import Finding


@click.command("doctor")
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.option("--json", is_flag=True, help="Print JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Progress on stderr; tracebacks.")
def command(strict: bool, json: bool, verbose: bool) -> int:
    """Look at what graphopt runs on: versions, ONNX Runtime, devices and their libraries.

    Each finding is ok, a note, a warning or a problem. Exit code 1 when there is a problem; with
    --strict, when there is a warning. What may crash or hang runs in child processes.
    """
    with progress_shown(quiet=False, verbose=verbose) as progress:
        findings = _findings(progress)
    from graphopt.report.findings import findings_dict, render_findings, worst

    if json:
        from graphopt.report.files import json_text

        click.echo(json_text(findings_dict(findings)), nl=False)
    else:
        show(render_findings(findings))
    failing = ("problem", "warning") if strict else ("problem",)
    return ExitCode.CHECK_FAILED if worst(findings) in failing else ExitCode.DONE


def _findings(progress: Progress) -> list[Finding]:
    """Everything that was found.

    Raises:
        GraphoptError: numpy or onnx, which the checks themselves need, cannot be imported.
    """
    try:
        from graphopt.cli.doctor_passes import pass_findings
        from graphopt.runtime.doctor import diagnose, guarded
    except Exception as error:  # native packages raise anything: TypeError, RuntimeError, ...
        raise GraphoptError(
            f"what graphopt needs cannot be imported: {type(error).__name__}: {error}",
            hint="pip install --force-reinstall numpy onnx protobuf",
        ) from error
    findings = diagnose(progress)
    progress("looking at: passes")
    return [*findings, *guarded("passes", pass_findings)]

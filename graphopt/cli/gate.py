"""graphopt gate."""

from __future__ import annotations

from pathlib import Path

import click

from graphopt.cli.console import show
from graphopt.cli.values import NumberRange
from graphopt.errors import ExitCode

_CODES = {
    "ok": ExitCode.DONE,
    "regression": ExitCode.CHECK_FAILED,
    "inconclusive": ExitCode.INCONCLUSIVE,
}


@click.command("gate")
@click.argument("baseline", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option(
    "--tolerance",
    type=NumberRange(min=0),
    default=0.02,
    show_default=True,
    help="How much slower is still no regression, as a share.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Compare what was measured on another machine, with another onnxruntime, or under other "
    "settings.",
)
@click.option(
    "--report",
    "reports",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Write what was found to a .json, .md or JUnit .xml file. Repeatable.",
)
@click.option("--json", is_flag=True, help="Print JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Tracebacks.")
def command(
    baseline: Path,
    candidate: Path,
    tolerance: float,
    force: bool,
    reports: tuple[Path, ...],
    json: bool,
    verbose: bool,
) -> int:
    """Compare two benchmark reports, and fail where the candidate got slower.

    BASELINE and CANDIDATE are JSON reports of graphopt bench, each with the model under test
    measured beside the same reference model. What is compared is the ratio of the two, case by
    case, so that other load on the machine drops out.

    Exit code 1 when the candidate got slower by more than the tolerance, 5 when that cannot be
    told, 2 when the reports cannot be compared.
    """
    from graphopt.report.bench_files import read_bench
    from graphopt.report.files import check_suffix, json_text
    from graphopt.report.gate import compare_reports
    from graphopt.report.gate_forms import render_gate, write_gate

    for path in reports:
        check_suffix(path)
    found = compare_reports(
        read_bench(baseline), read_bench(candidate), tolerance=tolerance, force=force
    )
    for path in reports:
        write_gate(found, path)
    if json:
        click.echo(json_text(found.to_dict()), nl=False)
    else:
        show(render_gate(found))
    return _CODES[found.outcome]

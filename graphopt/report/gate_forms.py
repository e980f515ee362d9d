"""What a gate found, for people and build servers: text, Markdown, JUnit XML, files."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from graphopt.report.bench_markdown import escaped, table
from graphopt.report.bench_text import Fitting
from graphopt.report.bench_words import interval, size
from graphopt.report.files import check_suffix, json_text, write_text
from graphopt.report.gate import GateReport, GateRow
from graphopt.report.junit import JUnitCase, document, suite
from graphopt.report.printable import cleaned

_STYLES = {"ok": "green", "regression": "red", "inconclusive": "yellow"}
_WORDS = {"ok": "ok", "regression": "REGRESSION", "inconclusive": "INCONCLUSIVE"}
_HEADS = ("case", "model", "baseline", "candidate", "candidate / baseline", "outcome")
_LEFT = 2


def render_gate(report: GateReport) -> RenderableType:
    """The outcome first, then each model and case, and what else to know."""
    report = cleaned(report)
    status = Text("gate: ").append(_WORDS[report.outcome], style=_STYLES[report.outcome])
    lines = [Text(f"warning: {line}", style="yellow") for line in _warnings(report)]
    rows = Fitting(_table(report), Group(*map(_line, report.rows)))
    return Group(status.append(f"; {_basis(report)}"), rows, *lines)


def _table(report: GateReport) -> Table:
    shown = Table(box=None, pad_edge=False)
    for index, head in enumerate(_HEADS):
        shown.add_column(head, justify="left" if index < _LEFT else "right", no_wrap=True)
    for row in report.rows:
        *cells, outcome = map(Text, _cells(row))
        outcome.stylize(_STYLES[row.outcome])
        shown.add_row(*cells, outcome)
    return shown


def _line(row: GateRow) -> Text:
    case, model, before, after, found, outcome = _cells(row)
    text = Text(f"{model}, {case}: ").append(outcome, style=_STYLES[row.outcome])
    return text.append(f", {found} ({after} after {before})")


def to_gate_markdown(report: GateReport) -> str:
    """The outcome in the first line, then the table."""
    report = cleaned(report)
    rows = [[escaped(cell) for cell in _cells(row)] for row in report.rows]
    lines = [f"# Gate: {_WORDS[report.outcome]}", "", escaped(_basis(report)), ""]
    lines += table(_HEADS, rows, left=_LEFT)
    if warnings := _warnings(report):
        lines += ["", *(f"- warning: {escaped(line)}" for line in warnings)]
    return "\n".join(lines) + "\n"


def to_gate_junit(report: GateReport) -> str:
    """One test suite, a test case for each model and case; what is inconclusive fails, too."""
    cases = [_tested(row, report) for row in report.rows]
    properties: dict[str, object] = {
        "outcome": report.outcome,
        "tolerance": report.tolerance,
        "reference": report.reference,
        "reference_sha256": report.reference_sha256,
        "baseline_started": report.baseline_started,
        "candidate_started": report.candidate_started,
    }
    properties |= {f"warning.{n}": line for n, line in enumerate(_warnings(report), 1)}
    return document([suite("gate", cases, properties, 0.0)], 0.0)


def write_gate(report: GateReport, path: Path) -> None:
    """Write what a gate found as .json, .md or JUnit .xml, through a temporary file.

    Raises:
        UsageError: Another suffix.
        FileError: It cannot be written.
    """
    check_suffix(path)
    if path.suffix == ".json":
        text = json_text(report.to_dict())
    else:
        text = to_gate_markdown(report) if path.suffix == ".md" else to_gate_junit(report)
    write_text(text, path)


def _cells(row: GateRow) -> tuple[str, ...]:
    return (
        row.case, _model(row), interval(row.baseline), interval(row.candidate),
        interval(row.quotient), _WORDS[row.outcome],
    )  # fmt: skip


def _model(row: GateRow) -> str:
    same = row.baseline_model == row.candidate_model
    return row.candidate_model if same else f"{row.baseline_model} -> {row.candidate_model}"


def _basis(report: GateReport) -> str:
    return (
        f"{size(len(report.rows), 'comparison')}, up to {100 * report.tolerance:g} % slower "
        f"allowed; ratios are to the time of {report.reference} ({report.reference_sha256[:12]})"
    )


def _warnings(report: GateReport) -> list[str]:
    return [*(f"forced, different {line}" for line in report.differences), *report.notes]


def _tested(row: GateRow, report: GateReport) -> JUnitCase:
    name = f"{_model(row)}: {row.case}"
    if row.outcome == "ok":
        return JUnitCase(name)
    allowed = f"{1 + report.tolerance:g} allowed"
    message = f"{_WORDS[row.outcome]}: candidate / baseline {interval(row.quotient)}, {allowed}"
    return JUnitCase(name, "failure", message)

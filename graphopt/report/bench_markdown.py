"""A benchmark's report as Markdown, for a pull request: the verdicts first, the rest folded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.console import RenderableType

from graphopt.report.bench import BenchReport, Case
from graphopt.report.bench_text import render_case, render_models
from graphopt.report.bench_words import (
    RATIOS,
    TIMES,
    case_label,
    cells,
    conditions,
    floor_line,
    outcome_words,
    present,
    requirement_place,
    unmet_words,
    verdict_lines,
)
from graphopt.report.printable import cleaned
from graphopt.report.text import plain

_SPECIAL = re.compile(r"[\\`*\[\]<>|&~]")
_WIDTH = 160
_COMPACT = ("p50 ms", "p99 ms", "rows/s")


def to_bench_markdown(report: BenchReport) -> str:
    """The report as Markdown: verdicts, requirements, a table a case, and details to unfold."""
    report = cleaned(report)
    unmet = unmet_words(report)
    head = f"# Benchmark of {escaped(report.reference)}{f': {unmet}' if unmet else ''}"
    lines = [head, "", *(f"- {escaped(line)}" for line in verdict_lines(report))]
    if report.requirements:
        rows = [
            (f"`{row.text}`", escaped(requirement_place(row, report)), outcome_words(row))
            for row in report.requirements
        ]
        lines += ["", *table(("requirement", "of", "outcome"), rows, left=3)]
    for case in report.cases:
        lines += ["", *_case(case)]
    return "\n".join([*lines, "", *_details(report)]) + "\n"


def escaped(text: str) -> str:
    """Text that reads the same in Markdown, in a table's cell too: names are no markup."""
    return _SPECIAL.sub(lambda found: f"\\{found.group()}", text)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """The lines of a Markdown table.

    Args:
        heads: Headings.
        rows: Cells, already escaped.
        left: How many columns stand at the left edge of their cells; the others at the right.
    """
    edges = ["---" if index < left else "--:" for index in range(len(heads))]
    lines = [heads, edges, *rows]
    return [f"| {' | '.join(cell or ' ' for cell in line)} |" for line in lines]


def _case(case: Case) -> Iterator[str]:
    yield f"**{escaped(case_label(case))}**"
    yield ""
    columns = [column for column in present(TIMES, case.arms) if column[0] in _COMPACT]
    columns += [column for column in present(RATIOS, case.arms) if column[0] != "CPU ratio"]
    rows = [[escaped(arm.model), *map(escaped, cells(columns, arm))] for arm in case.arms]
    yield from table(["model", *(head for head, _ in columns)], rows)
    yield ""
    yield escaped(f"{conditions(case)}; {floor_line(case)}")
    for note in case.notes:
        yield f"\n- note: {escaped(note)}"


def _details(report: BenchReport) -> Iterator[str]:
    """What render_bench shows in a terminal, as it stands there."""
    for case in report.cases:
        yield from _folded(f"Measurements: {case_label(case)}", render_case(case))
    yield from _folded("Models and machine", render_models(report))


def _folded(summary: str, content: RenderableType) -> Iterator[str]:
    yield f"<details><summary>{_html(summary)}</summary>"
    yield ""
    # Indented code, unlike a fence, has no end that a name could forge.
    yield from (f"    {line}" for line in plain(content, width=_WIDTH).splitlines())
    yield ""
    yield "</details>"
    yield ""


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

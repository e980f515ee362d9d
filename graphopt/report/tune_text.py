"""What tuning found, for people: text, Markdown, files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from graphopt.report.bench_markdown import escaped, table
from graphopt.report.bench_words import environment_lines, interval, quantity, size
from graphopt.report.files import check_suffix, json_text, write_text
from graphopt.report.printable import cleaned, printable
from graphopt.report.tune import TuneReport

TUNE_SUFFIXES = (".json", ".md")
_LISTED = 8
_OF = {
    "latency": "of the default's time of a call",
    "throughput": "of the default's time of a row",
    "memory": "of the default's peak bytes",
}


def render_tune(report: TuneReport, *, verbose: bool = False) -> RenderableType:
    """What to set and what it brings, the candidates, and the code.

    Args:
        report: The tuning.
        verbose: Every candidate, and all that were left out.
    """
    code = _code(report)
    report = cleaned(dataclasses.replace(report, snippet=""))
    rows = report.candidates if verbose else report.candidates[:_LISTED]
    shown = Table(box=None, pad_edge=False)
    for head, justify in (("candidate", "left"), ("rung", "right"), ("ratio", "right")):
        shown.add_column(head, justify="left" if justify == "left" else "right")
    for row in rows:
        shown.add_row(Text(row.name), str(row.rung), quantity(row.ratio))
    style = "green" if report.best != report.default else ""
    parts: list[RenderableType] = [Text(headline(report), style), *map(Text, _about(report))]
    parts += [Text(""), shown]
    if rest := len(report.candidates) - len(rows):
        parts.append(Text(f"and {rest} more (-v)"))
    parts += [Text(f"left out: {line}") for line in _left_out(report, verbose=verbose)]
    parts += [Text(f"note: {note}", "yellow") for note in report.notes]
    return Group(*parts, Text(""), *map(Text, code))


def headline(report: TuneReport) -> str:
    """The proposal in one line."""
    what = f"{report.model.name} on {report.provider}, {report.objective}: "
    final = report.final
    if report.best != report.default:
        return f"{what}{report.best_name}: {_ratio(report)} {_OF[report.objective]}"
    if final is None:
        return f"{what}the default; nothing else was in the final"
    return f"{what}the default; not shown to be better: {final.name}, {_ratio(report)} of it"


def to_tune_markdown(report: TuneReport) -> str:
    """The report as Markdown: the proposal, the code, the candidates."""
    code = _code(report)
    report = cleaned(dataclasses.replace(report, snippet=""))
    lines = [f"# Tuning of {escaped(report.model.name)}", "", escaped(headline(report)), ""]
    lines += [f"- {escaped(line)}" for line in _about(report)]
    lines += [f"- note: {escaped(note)}" for note in report.notes]
    # Indented code, unlike a fence, has no end that a name could forge.
    # The paragraph ends the list, which would take the code in.
    lines += ["", "The session:", "", *(f"    {line}" for line in code), ""]
    rows = [(escaped(c.name), str(c.rung), quantity(c.ratio)) for c in report.candidates]
    lines += table(("candidate", "rung", "ratio"), rows)
    left_out = list(_left_out(report, verbose=True))
    lines += ["", *(f"- left out: {escaped(line)}" for line in left_out)] if left_out else []
    lines += ["", *map(escaped, environment_lines(report.environment))]
    return "\n".join(lines) + "\n"


def write_tune(report: TuneReport, path: Path) -> None:
    """Write what tuning found as .json or .md, through a temporary file.

    Raises:
        UsageError: Another suffix.
        FileError: It cannot be written.
    """
    check_suffix(path, TUNE_SUFFIXES)
    is_json = path.suffix == ".json"
    write_text(json_text(report.to_dict()) if is_json else to_tune_markdown(report), path)


def _ratio(report: TuneReport) -> str:
    final = report.final
    if final is None:
        return quantity(report.ratio.value)
    if report.objective != "memory":
        return interval(final.ratio)
    return f"{quantity(final.ratio.value)} (time of a call: {interval(final.latency_ratio)})"


def _about(report: TuneReport) -> Iterator[str]:
    """How the final was measured, and the time it all took."""
    if report.final is not None:
        pairs = size(report.final.pairs, "pair")
        processes = size(report.final.processes, "fresh pair")
        yield f"final: {pairs} of blocks in {processes} of processes that chose nothing"
    yield (
        f"{size(len(report.candidates), 'candidate')} measured in {report.seconds:.1f} s; the "
        "ratios below chose the finalist, and look better than they are"
    )


def _left_out(report: TuneReport, *, verbose: bool) -> Iterator[str]:
    """One line each; those with one reason together unless asked for."""
    if verbose:
        yield from (f"{one.name}: {one.reason}" for one in report.dropped)
        return
    counts: dict[str, list[str]] = {}
    for one in report.dropped:
        counts.setdefault(one.reason, []).append(one.name)
    for reason, names in counts.items():
        named = names[0] if len(names) == 1 else size(len(names), "candidate")
        yield f"{named}: {reason}"


def _code(report: TuneReport) -> list[str]:
    return [printable(line) for line in report.snippet.split("\n")][:-1]

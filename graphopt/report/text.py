"""A report for people: rich renderables for a terminal, plain text elsewhere."""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from graphopt.report.printable import cleaned, printable
from graphopt.report.record import (
    ModelStats,
    Report,
    RequirementOutcome,
    StageReport,
    Verification,
)

_LISTED = 8
_STYLES = {"ok": "green", "verified": "green", "failed": "red"}


def plain(renderable: RenderableType, width: int = 100) -> str:
    """Render to text without colours or box characters that a log would mangle."""
    stream = io.StringIO()
    Console(
        file=stream, width=width, no_color=True, highlight=False, markup=False, emoji=False
    ).print(renderable)
    return "".join(line.rstrip() + "\n" for line in stream.getvalue().splitlines())


def render_report(report: Report, *, verbose: bool = False) -> RenderableType:
    """The whole report; the status comes first."""
    report = cleaned(report)
    parts: list[RenderableType] = [_headline(report), _sizes(report.before, report.after)]
    parts += map(Text, purpose_lines(report))
    parts += [_passes(stage, verbose=verbose) for stage in report.stages]
    parts.append(render_verification(report.stages[-1].verification, verbose=verbose))
    parts += [_requirement(outcome) for outcome in report.requirements]
    parts += [Text(f"warning: {line}", style="yellow") for line in report.warnings]
    return Group(*parts)


def _headline(report: Report) -> Text:
    last = report.stages[-1].verification
    words = {"verified": "verified", "unverified": "UNVERIFIED", "failed": "FAILED"}[report.status]
    text = Text(f"{report.source or 'model'}: ")
    text.append(words, style=_STYLES.get(report.status, "yellow"))
    if report.status == "unverified":
        text.append(f" ({last.note or 'see below'})")
    if not report.changed:
        text.append(", nothing to change")
    if report.unmet:
        text.append(f", {unmet_words(report)}", style="red")
    text.append(f"; recipe {report.recipe}, {report.seconds:.1f} s")
    if report.output:
        text.append(f" -> {report.output}")
    return text


def _sizes(before: ModelStats, after: ModelStats) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("", "before", "after", "ratio"):
        table.add_column(name, justify="left" if not name else "right")
    rows: Iterable[tuple[str, float | None, float | None]] = (
        ("nodes", before.nodes, after.nodes),
        ("initializers", before.initializers, after.initializers),
        ("parameters", before.parameters, after.parameters),
        ("file bytes", before.file_bytes, after.file_bytes),
        ("MACs", before.macs, after.macs),
        ("peak activation bytes", before.peak_activation_bytes, after.peak_activation_bytes),
        ("sparsity", before.sparsity, after.sparsity),
    )
    for name, old, new in rows:
        ratio = f"{new / old:.3f}" if old and new is not None else ""
        _add_row(table, name, number(old), number(new), ratio)
    return table


def _add_row(table: Table, *cells: str) -> None:
    """Add cells as plain text: names come from the model and may look like markup."""
    table.add_row(*map(Text, cells))


def number(value: float | None) -> str:
    """A count with separators; None reads "unknown"."""
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def purpose_lines(report: Report) -> list[str]:
    """What was dropped or left alone on purpose, one line each."""
    lines = []
    for what, names in (
        ("outputs dropped", report.dropped_outputs),
        ("nodes left alone", report.excluded),
    ):
        if names:
            more = f", ... ({len(names)})" if len(names) > _LISTED else ""
            lines.append(f"{what}: {', '.join(names[:_LISTED])}{more}")
    return lines


def unmet_words(report: Report) -> str:
    """How many requirements are not known to hold: `1 of 2 requirements not met`."""
    total = len(report.requirements)
    return f"{len(report.unmet)} of {total} requirement{'s' * (total > 1)} not met"


def outcome_words(outcome: RequirementOutcome) -> str:
    """How a requirement came out: `met, 0.81`."""
    words = {True: "met", False: "NOT MET", None: "NOT MEASURED"}[outcome.met]
    value = "" if outcome.value is None else f", {outcome.value:.6g}"
    detail = f" ({outcome.detail})" if outcome.detail else ""
    return f"{words}{value}{detail}"


def _requirement(outcome: RequirementOutcome) -> Text:
    style = "green" if outcome.met else "red"
    return Text(f"requirement {outcome.text}: ").append(outcome_words(outcome), style=style)


def _passes(stage: StageReport, *, verbose: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("pass")
    table.add_column("rewrites", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("skipped")
    for result in stage.passes:
        reasons = sorted(result.skipped.items(), key=lambda item: -item[1])
        shown = reasons if verbose else reasons[:1]
        text = "; ".join(f"{count} x {reason}" for reason, count in shown)
        if len(reasons) > len(shown):
            text += f"; {sum(count for _, count in reasons[len(shown) :])} more"
        _add_row(table, result.name, str(result.rewrites), f"{result.seconds:.2f}", text)
    return table


def render_verification(outcome: Verification, *, verbose: bool = False) -> RenderableType:
    """One line, and a row for each output that needs a word (all of them when verbose)."""
    outcome = cleaned(outcome)
    head = Text("verification: ")
    head.append(outcome.status, style=_STYLES.get(outcome.status, "yellow"))
    if outcome.method != "none":
        kind = "generated" if outcome.generated else "given"
        head.append(f", {outcome.inputs} {kind} input sets, {outcome.method}")
    if outcome.note:
        head.append(f" ({outcome.note})")
    rows = [row for row in outcome.checks if verbose or row.status != "ok"]
    parts: list[RenderableType] = [head]
    for row in rows:
        error = "" if row.max_rel is None else f" max relative difference {row.max_rel:.2e}"
        parts.append(Text(f"  {row.what}: {row.status}{error} {row.detail}".rstrip()))
    for loss in outcome.losses:
        top1 = "" if loss.top1_agreement is None else f", top-1 agreement {loss.top1_agreement:.4f}"
        parts.append(Text(f"  loss (optimisations {loss.level}): {loss.snr_db:.1f} dB{top1}"))
    return Group(*parts)


def render_stats(stats: ModelStats, name: str) -> RenderableType:
    """What a model is made of."""
    stats = cleaned(stats)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column("")
    table.add_column("")
    opsets = ", ".join(f"{domain or 'ai.onnx'} {v}" for domain, v in stats.opsets.items())
    at = ", ".join(f"{n} {'x'.join(map(str, s))}" for n, s in stats.macs_at.items())
    rows = (
        ("IR version, opsets", f"{stats.ir_version}; {opsets}"),
        ("nodes", f"{number(stats.nodes)} ({number(stats.constant_nodes)} Constant)"),
        ("opaque nodes, functions", f"{stats.opaque_nodes}, {stats.functions}"),
        ("initializers", number(stats.initializers)),
        ("parameters", number(stats.parameters)),
        ("file bytes", number(stats.file_bytes)),
        ("weight bytes", ", ".join(f"{d} {number(b)}" for d, b in stats.dtypes.items()) or "0"),
        ("MACs", number(stats.macs)),
        ("peak activation bytes", number(stats.peak_activation_bytes)),
        ("counted at", at or "no input shape known"),
        ("sparsity", number(stats.sparsity)),
        ("operators", ", ".join(f"{op} {count}" for op, count in stats.ops.items())),
    )
    for row in rows:
        _add_row(table, *row)
    return Group(Text(printable(name)), table)

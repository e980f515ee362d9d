"""A report as Markdown, for a pull request or a build log."""

from __future__ import annotations

from graphopt.report.printable import cleaned
from graphopt.report.record import Report
from graphopt.report.text import number, outcome_words, purpose_lines, unmet_words


def to_markdown(report: Report) -> str:
    """The report as Markdown, the status in its first line."""
    report = cleaned(report)
    verification = report.stages[-1].verification
    unmet = f", {unmet_words(report)}" if report.unmet else ""
    lines = [
        f"# {report.source or 'model'}: {report.status}{unmet}",
        "",
        f"Recipe `{report.recipe}` (`{report.recipe_digest[:12]}`), seed {report.seed}, "
        f"{report.seconds:.1f} s. Verification: {verification.status}, "
        f"{verification.inputs} input sets, {verification.method}. {verification.note}".rstrip(),
        "",
        "| | before | after |",
        "|---|--:|--:|",
    ]
    before, after = report.before, report.after
    for label, field in (
        ("nodes", "nodes"),
        ("initializers", "initializers"),
        ("parameters", "parameters"),
        ("file bytes", "file_bytes"),
        ("MACs", "macs"),
        ("peak activation bytes", "peak_activation_bytes"),
    ):
        lines.append(
            f"| {label} | {number(getattr(before, field))} | {number(getattr(after, field))} |"
        )
    lines += [f"\n{line}" for line in purpose_lines(report)]
    lines += ["", "| pass | rewrites | skipped |", "|---|--:|---|"]
    for stage in report.stages:
        for result in stage.passes:
            reasons = "; ".join(f"{count} x {why}" for why, count in result.skipped.items())
            lines.append(f"| {result.name} | {result.rewrites} | {_cell(reasons)} |")
    lines += ["", "| checked | status | max relative difference | |", "|---|---|--:|---|"]
    for row in verification.checks:
        error = "" if row.max_rel is None else f"{row.max_rel:.2e}"
        lines.append(f"| {_cell(row.what)} | {row.status} | {error} | {_cell(row.detail)} |")
    for loss in verification.losses:
        lines.append(
            f"\nLoss, optimisations {loss.level}: {loss.snr_db:.1f} dB, "
            f"top-1 agreement {number(loss.top1_agreement)}"
        )
    if report.requirements:
        lines += ["", "| requirement | |", "|---|---|"]
        for outcome in report.requirements:
            lines.append(f"| `{outcome.text}` | {_cell(outcome_words(outcome))} |")
    if report.warnings:
        lines += ["", *(f"- warning: {line}" for line in report.warnings)]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")

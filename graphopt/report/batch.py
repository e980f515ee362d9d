"""Several models in one call: what came of each, as data and as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from graphopt.report.files import check_suffix, json_text, write_text
from graphopt.report.junit import Judgement, to_junit
from graphopt.report.markdown import to_markdown
from graphopt.report.printable import printable
from graphopt.report.record import SCHEMA_VERSION, Report
from graphopt.report.text import number

_LEFT = ("model", "status")


@dataclass(frozen=True, slots=True)
class ModelOutcome:
    """What came of one model.

    Attributes:
        model: Its file, as it was named or found.
        exit_code: What the command would give for this model alone.
        error: What went wrong, or why no result was written, in one line; None when all went well.
        report: The run; None when it did not come to an end.
    """

    model: str
    exit_code: int
    error: str | None
    report: Report | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What came of several models.

    Attributes:
        exit_code: The worst of theirs.
        models: One entry a model, in the order they were run.
    """

    exit_code: int
    models: tuple[ModelOutcome, ...]
    schema: int = field(default=SCHEMA_VERSION)

    @property
    def reports(self) -> list[Report]:
        """The reports of those that have one."""
        return [item.report for item in self.models if item.report is not None]

    @property
    def errors(self) -> dict[str, str]:
        """What went wrong with those that have none, by model."""
        return {item.model: item.error or "" for item in self.models if item.report is None}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `schema` says which shape it has."""
        return asdict(self)


def render_batch(batch: Batch) -> RenderableType:
    """A row for each model, and one line on all of them."""
    names = _columns(batch)
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="left" if name in _LEFT else "right", overflow="fold")
    for item in batch.models:
        row = map(printable, _row(item, lossy="loss" in names))
        *cells, status, seconds = map(Text, row)
        status.stylize(_style(item))
        table.add_row(*cells, status, seconds)
    return Group(table, Text(_sum(batch)))


def write_batch(batch: Batch, path: Path, judgement: Judgement | None = None) -> None:
    """Write what came of several models as .json, .md or JUnit .xml.

    Args:
        batch: The models.
        path: Where to write it; its suffix says how.
        judgement: What counts as a failure, for JUnit.

    Raises:
        UsageError: Another suffix.
        FileError: It cannot be written.
    """
    check_suffix(path)
    if path.suffix == ".xml":
        text = to_junit(batch.reports, judgement, errors=batch.errors)
    elif path.suffix == ".md":
        text = "\n".join([_overview(batch), *map(to_markdown, batch.reports)])
    else:
        text = json_text(batch.to_dict())
    write_text(text, path)


def _overview(batch: Batch) -> str:
    """The table as Markdown, errors in the words of the command line."""
    names = _columns(batch)
    lines = ["| " + " | ".join(names) + " |"]
    lines.append("|" + "|".join("---" if name in _LEFT else "--:" for name in names) + "|")
    for item in batch.models:
        row = map(printable, _row(item, lossy="loss" in names))
        cells = (text.replace("|", "\\|") for text in row)
        lines.append("| " + " | ".join(cells) + " |")
    errors = [f"- error: {printable(error)}" for error in batch.errors.values()]
    return "\n".join([*lines, "", _sum(batch), *(["", *errors] if errors else [])]) + "\n"


def _columns(batch: Batch) -> list[str]:
    lossy = any(_loss(report) for report in batch.reports)
    return ["model", "nodes", "bytes", "ratio", *(["loss"] if lossy else []), "status", "seconds"]


def _row(item: ModelOutcome, *, lossy: bool) -> list[str]:
    report = item.report
    if report is None:
        return [item.model, "", "", "", *([""] if lossy else []), "error", ""]
    before, after = report.before, report.after
    ratio = f"{after.file_bytes / before.file_bytes:.3f}" if before.file_bytes else ""
    return [
        item.model,
        f"{number(before.nodes)} -> {number(after.nodes)}",
        f"{number(before.file_bytes)} -> {number(after.file_bytes)}",
        ratio,
        *([_loss(report)] if lossy else []),
        _status(item, report),
        f"{report.seconds:.1f}",
    ]


def _status(item: ModelOutcome, report: Report) -> str:
    words = report.status if report.status == "verified" else report.status.upper()
    words += "" if report.changed else ", nothing to change"
    return f"{words}, not written: {item.error}" if item.error else words


def _loss(report: Report) -> str:
    """The worse of what the format loses and what the deployed session loses."""
    losses = report.stages[-1].verification.losses
    return f"{min(loss.snr_db for loss in losses):.1f} dB" if losses else ""


def _style(item: ModelOutcome) -> str:
    if item.exit_code:
        return "red"
    return "green" if item.report is not None and item.report.status == "verified" else "yellow"


def _sum(batch: Batch) -> str:
    failed = sum(item.exit_code != 0 for item in batch.models)
    done = [item.report for item in batch.models if item.report and not item.exit_code]
    before = sum(report.before.file_bytes for report in done)
    after = sum(report.after.file_bytes for report in done)
    text = f"{len(batch.models)} models, {len(batch.models) - failed} done"
    text += f", {failed} not" if failed else ""
    if before:
        text += f"; {number(before)} -> {number(after)} bytes, ratio {after / before:.3f}"
    return f"{text}; exit code {batch.exit_code}" if batch.exit_code else text

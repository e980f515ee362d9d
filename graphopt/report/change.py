"""The record of a model changed on purpose: converted, or a piece cut out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.text import Text

from graphopt.report.printable import cleaned
from graphopt.report.record import Verification
from graphopt.report.text import render_verification

CHANGE_SCHEMA_VERSION = 1
"""Raised when a field of the JSON changes its type or meaning, or goes away."""

_STYLES = {"verified": "green", "failed": "red"}


@dataclass(frozen=True, slots=True)
class ChangeReport:
    """What was changed on purpose, and what proves that nothing else was.

    Attributes:
        action: The command.
        status: `verified`, `unverified` (nothing could be compared, or not everything), `failed`.
        changed: False when the model was already as asked for.
        changes: What changed, a sentence each.
        inputs: The result's inputs as text: `x float32[1,3,224,224]`.
        outputs: The result's outputs as text.
        output: Where the result was written, if it was.
    """

    action: Literal["convert", "extract"]
    status: Literal["verified", "unverified", "failed"]
    changed: bool
    source: str | None
    source_sha256: str | None
    output: str | None
    seed: int
    changes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    verification: Verification
    seconds: float
    schema: int = field(default=CHANGE_SCHEMA_VERSION)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `schema` says which shape it has."""
        return asdict(self)


def render_change(report: ChangeReport, *, verbose: bool = False) -> RenderableType:
    """A few lines for people: the status, what changed, and how that was verified."""
    report = cleaned(report)
    words = {"verified": "verified", "unverified": "UNVERIFIED", "failed": "FAILED"}
    head = Text(f"{report.source or 'model'}: ")
    head.append(words[report.status], style=_STYLES.get(report.status, "yellow"))
    if report.output:
        head.append(f" -> {report.output}")
    lines: list[RenderableType] = [Text(f"  {change}") for change in report.changes]
    if not report.changed:
        lines = [Text("  nothing to change: the model is as asked for")]
    return Group(head, *lines, render_verification(report.verification, verbose=verbose))

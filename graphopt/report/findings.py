"""What `graphopt doctor` found, as data, as JSON and for people."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

SCHEMA_VERSION = 1
"""Raised when a key of the JSON findings changes its meaning or goes away."""

Level = Literal["ok", "note", "warning", "problem"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From harmless to harmful."""

_STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: Which check found it, from a fixed list of words: version, distributions, files,
            import, provider, driver, cuda library, passes, temporary folder, isolation, memory
            limit.
        subject: What it is about: a distribution, an execution provider, a library, a folder.
        level: `ok`; `note`, worth knowing; `warning`, something does not work that was meant to;
            `problem`, graphopt does not work here.
        text: What was found, in one line.
        hint: What to do about it, empty when nothing.
        facts: The same as plain data (JSON types), by name.
    """

    check: str
    subject: str
    level: Level
    text: str
    hint: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def worst(findings: Iterable[Finding]) -> Level:
    """The most harmful level there is; `ok` without findings."""
    return max((finding.level for finding in findings), key=LEVELS.index, default="ok")


def findings_dict(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings as plain data: `schema`, `status` (the worst level), `counts`, `findings`."""
    counts = Counter(finding.level for finding in findings)
    return {
        "schema": SCHEMA_VERSION,
        "status": worst(findings),
        "counts": {level: counts[level] for level in LEVELS},
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }


def render_findings(findings: Sequence[Finding]) -> RenderableType:
    """The worst level first, a row for each finding, then each hint once, to be copied."""
    table = Table(box=None, pad_edge=False)
    for name in ("", "check", "subject", "found"):
        table.add_column(name, no_wrap=name != "found")
    for finding in findings:
        level = Text(finding.level, style=_STYLES[finding.level])
        table.add_row(level, Text(finding.check), Text(finding.subject), Text(finding.text))
    return Group(_headline(findings), table, *_hints(findings))


def _headline(findings: Sequence[Finding]) -> Text:
    counts = Counter(finding.level for finding in findings)
    status = worst(findings)
    text = Text("doctor: ")
    text.append(status if status != "note" else "ok", style=_STYLES[status])
    told = [
        f"{counts[level]} {level}{'s' if counts[level] != 1 else ''}"
        for level in reversed(LEVELS[1:])
        if counts[level]
    ]
    text.append(f" ({', '.join(told)})" if told else "")
    return text


def _hints(findings: Sequence[Finding]) -> list[Text]:
    """One line a hint, however many findings have it."""
    subjects: dict[str, dict[str, None]] = {}
    for finding in sorted(findings, key=lambda found: -LEVELS.index(found.level)):
        if finding.hint:
            subjects.setdefault(finding.hint, {})[finding.subject] = None
    return [Text(f"hint ({_few(list(names))}): {hint}") for hint, names in subjects.items()]


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"

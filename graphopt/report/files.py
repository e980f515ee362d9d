"""Writing reports to files, the format by suffix."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graphopt.errors import FileError, UsageError
from graphopt.report.junit import Judgement, to_junit
from graphopt.report.markdown import to_markdown
from graphopt.report.record import Report

SUFFIXES = (".json", ".md", ".xml")


def to_json(report: Report) -> str:
    """The report as JSON; infinities, which JSON lacks, become strings."""
    return json_text(report.to_dict())


def json_text(data: Any) -> str:
    """Plain data as JSON, infinities as strings."""
    return json.dumps(_finite(data), indent=2) + "\n"


def write_report(report: Report, path: Path, judgement: Judgement | None = None) -> None:
    """Write a report as .json, .md or JUnit .xml, through a temporary file.

    Args:
        report: The report of one model; for several there is batch.write_batch.
        path: Where to write it; its suffix says how.
        judgement: What counts as a failure, for JUnit; the command line's defaults by default.

    Raises:
        UsageError: Another suffix.
        FileError: It cannot be written.
    """
    check_suffix(path)
    if path.suffix == ".xml":
        text = to_junit([report], judgement)
    else:
        text = to_json(report) if path.suffix == ".json" else to_markdown(report)
    write_text(text, path)


def write_text(text: str, path: Path) -> None:
    """Write a report's text through a temporary file.

    Raises:
        FileError: It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.graphopt-{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise FileError(f"report cannot be written: {error.strerror}", file=path) from error


def check_suffix(path: Path, suffixes: Sequence[str] = SUFFIXES) -> None:
    """Check that a report of this name can be written.

    Args:
        path: Where it is to be written.
        suffixes: What it may end in.

    Raises:
        UsageError: It ends in none of them.
        FileError: Its folder is not there.
    """
    if path.suffix not in suffixes:
        hint = f"use {', '.join(suffixes[:-1])} or {suffixes[-1]}"
        raise UsageError("report has an unknown suffix", file=path, hint=hint)
    if not path.parent.is_dir():
        raise FileError("the report's folder does not exist", file=path)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value

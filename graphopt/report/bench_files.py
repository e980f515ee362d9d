"""Benchmark reports in files: written in a form that the suffix names, and read back from JSON."""

from __future__ import annotations

from pathlib import Path

from graphopt.errors import FileError
from graphopt.report.bench import BENCH_SCHEMA_VERSION, BenchReport
from graphopt.report.bench_junit import to_bench_junit
from graphopt.report.bench_markdown import to_bench_markdown
from graphopt.report.files import check_suffix, json_text, write_text
from graphopt.report.reading import read_record

BENCH_SUFFIXES = (".json", ".md", ".html", ".xml")
_WHAT = "report of graphopt bench"


def write_bench(report: BenchReport, path: Path) -> None:
    """Write a benchmark as .json, .md, .html or JUnit .xml, through a temporary file.

    Args:
        report: The benchmark.
        path: Where to write it; its suffix says how.

    Raises:
        UsageError: Another suffix.
        FileError: It cannot be written.
    """
    check_bench_suffix(path)
    write_text(_text(report, path.suffix), path)


def _text(report: BenchReport, suffix: str) -> str:
    if suffix == ".html":
        # The plots' library is needed for nothing else.
        from graphopt.report.bench_html import to_html

        return to_html(report)
    if suffix == ".json":
        return json_text(report.to_dict())
    return to_bench_markdown(report) if suffix == ".md" else to_bench_junit(report)


def check_bench_suffix(path: Path) -> None:
    """Check that a benchmark of this name can be written.

    Raises:
        UsageError: Neither .json, .md, .html nor .xml, or .html without the library for plots.
        FileError: Its folder is not there.
    """
    check_suffix(path, BENCH_SUFFIXES)
    if path.suffix == ".html":
        from graphopt.report.bench_drawing import check_drawing

        check_drawing()


def read_bench(path: Path) -> BenchReport:
    """Read a benchmark's JSON file.

    Raises:
        FileError: It cannot be read, or is no such report; the message names the field.
    """
    report = read_record(BenchReport, path, _WHAT, BENCH_SCHEMA_VERSION)
    if problem := _dangling(report):
        raise FileError(f"is no {_WHAT}: {problem}", file=path)
    return report


def _dangling(report: BenchReport) -> str:
    """The first reference to a model or a case that is not there, in words."""
    names = {model.name for model in report.models}
    if len(names) < len(report.models):
        return "models: two have one name"
    if report.reference not in names:
        return f"reference: no model {report.reference!r}"
    for number, case in enumerate(report.cases):
        where = f"cases[{number}].arms"
        if not case.arms or case.reference.model != report.reference:
            return f"{where}: the first is not the reference"
        for arm in case.arms:
            if arm.model not in names:
                return f"{where}: no model {arm.model!r}"
        if len({arm.model for arm in case.arms}) < len(case.arms):
            return f"{where}: two of one model"
    for number, row in enumerate(report.requirements):
        if row.model not in names:
            return f"requirements[{number}].model: no model {row.model!r}"
        if not 0 <= row.case < len(report.cases):
            return f"requirements[{number}].case: no case {row.case}"
    return ""

"""A benchmark as JUnit XML: a test suite a case."""

from __future__ import annotations

from collections.abc import Iterator

from graphopt.report.bench import BenchReport, Case
from graphopt.report.bench_words import case_label, conditions, outcome_words, verdict_words
from graphopt.report.junit import JUnitCase, document, suite


def to_bench_junit(report: BenchReport) -> str:
    """The report as one JUnit XML document.

    A test case stands for each requirement, and fails where it is not met or inconclusive, as the
    command line does; and for each candidate's verdict, which is skipped where it is slower or
    inconclusive: that alone is no failure.
    """
    seconds = report.seconds / max(len(report.cases), 1)
    suites = [
        suite(case_label(case), list(_cases(report, number)), _properties(report, case), seconds)
        for number, case in enumerate(report.cases)
    ]
    return document(suites, report.seconds)


def _cases(report: BenchReport, number: int) -> Iterator[JUnitCase]:
    case = report.cases[number]
    for arm in case.arms[1:]:
        name = f"{arm.model} against {case.reference.model}"
        if arm.verdict in ("faster", "same"):
            yield JUnitCase(name)
        else:
            yield JUnitCase(name, "skipped", verdict_words(arm, case))
    for row in report.requirements:
        if row.case == number:
            name = f"{row.model}: requirement: {row.text}"
            yield (
                JUnitCase(name)
                if row.outcome == "met"
                else JUnitCase(name, "failure", outcome_words(row))
            )


def _properties(report: BenchReport, case: Case) -> dict[str, object]:
    found: dict[str, object] = {
        f"version.{name}": version for name, version in report.environment.versions.items()
    }
    return found | {
        "machine": report.environment.machine,
        "conditions": conditions(case),
        "reference": report.reference,
        "reference_sha256": report.model(report.reference).sha256,
        "started": report.started,
        "seed": report.seed,
    }

"""Reports as JUnit XML, the form in which build servers take results."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from graphopt.report.record import Report, RequirementOutcome, StageReport
from graphopt.report.text import outcome_words

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped."""


@dataclass(frozen=True, slots=True)
class JUnitCase:
    """One test case.

    Attributes:
        outcome: None when it passed.
        message: Why it did not, in one line.
        details: More lines on it.
    """

    name: str
    outcome: Literal["failure", "error", "skipped"] | None = None
    message: str = ""
    details: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What counts as a failure: the command line's options of the same names.

    Attributes:
        allow_unverified: What could not be verified is none.
        strict: A rewrite that was left out is one.
        require_change: A lossy pass that changed nothing is one, and so is an unchanged model.
    """

    allow_unverified: bool = False
    strict: bool = False
    require_change: bool = False


def to_junit(
    reports: Sequence[Report],
    judgement: Judgement | None = None,
    errors: Mapping[str, str] | None = None,
) -> str:
    """The reports as one JUnit XML document, a test suite a model.

    A test case stands for the verification of each stage, for each rewrite that was left out, each
    lossy pass that changed nothing, and each requirement. A case fails where the command line
    exits with 1; what it only warns of is skipped.

    Args:
        reports: One report a model.
        judgement: What counts as a failure; the command line's defaults by default.
        errors: What went wrong with models that have no report, by model: a suite each too.
    """
    judgement = judgement or Judgement()
    suites = [
        suite(
            report.source or "model",
            list(_cases(report, judgement)),
            _properties(report),
            report.seconds,
        )
        for report in reports
    ]
    suites += [_error_suite(name, message) for name, message in (errors or {}).items()]
    return document(suites, sum(report.seconds for report in reports))


def document(suites: Sequence[ElementTree.Element], seconds: float) -> str:
    """Test suites as one XML document, with the sums of what they count.

    Args:
        suites: Elements made by `suite`.
        seconds: How long the whole took.
    """
    root = ElementTree.Element("testsuites", {"name": "graphopt", "time": f"{seconds:.3f}"})
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(element.get(count, "0")) for element in suites)))
    root.extend(suites)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _cases(report: Report, judgement: Judgement) -> Iterator[JUnitCase]:
    for number, stage in enumerate(report.stages, 1):
        yield _verified(f"stage {number}: verification", stage, judgement)
        if stage.taken_back:
            yield JUnitCase(f"stage {number}: rewrites kept", "skipped", stage.taken_back)
        for item in stage.left_out:
            yield JUnitCase(
                f"stage {number}: {item.pass_name} at {item.label} ({item.root} #{item.ordinal})",
                "failure" if judgement.strict else "skipped",
                f"left out: {item.reason}",
            )
        for idle, line in zip(stage.idle, stage.idle_lines(), strict=True):
            yield JUnitCase(
                f"stage {number}: {idle.name} changes something",
                "failure" if judgement.require_change else "skipped",
                line,
            )
    if judgement.require_change and not report.changed:
        yield JUnitCase("something changes", "failure", "nothing was changed")
    for outcome in report.requirements:
        yield _required(outcome)


def _verified(name: str, stage: StageReport, judgement: Judgement) -> JUnitCase:
    verification = stage.verification
    seconds = sum(result.seconds for result in stage.passes)
    if verification.status == "ok":
        return JUnitCase(name, seconds=seconds)
    rows = tuple(
        f"{row.what}: {row.status} {row.detail}".rstrip()
        for row in verification.checks
        if row.status != "ok"
    )
    message = verification.note or (rows[0] if rows else "")
    skipped = verification.status == "not verified" and judgement.allow_unverified
    return JUnitCase(
        name,
        "skipped" if skipped else "failure",
        f"{verification.status}: {message}" if message else verification.status,
        rows,
        seconds,
    )


def _required(outcome: RequirementOutcome) -> JUnitCase:
    name = f"requirement: {outcome.text}"
    return JUnitCase(name) if outcome.met else JUnitCase(name, "failure", outcome_words(outcome))


def suite(
    name: str, cases: Sequence[JUnitCase], properties: Mapping[str, object], seconds: float
) -> ElementTree.Element:
    """One test suite.

    Args:
        name: What was tested.
        cases: Its test cases; none of them an error.
        properties: What else a reader may want to know.
        seconds: How long it took.
    """
    name = _xml(name)
    element = ElementTree.Element("testsuite", {"name": name, "tests": str(len(cases))})
    outcomes = [case.outcome for case in cases]
    element.set("failures", str(outcomes.count("failure")))
    element.set("errors", "0")
    element.set("skipped", str(outcomes.count("skipped")))
    element.set("time", f"{seconds:.3f}")
    listed = ElementTree.SubElement(element, "properties")
    for key, value in properties.items():
        attributes = {"name": _xml(key), "value": _xml(str(value))}
        ElementTree.SubElement(listed, "property", attributes)
    # Readers take what stands behind a class name's last dot for the class: ".onnx" must go.
    class_name = name.removesuffix(".onnx")
    for case in cases:
        element.append(_element(case, class_name))
    return element


def _error_suite(name: str, message: str) -> ElementTree.Element:
    counts = {"tests": "1", "failures": "0", "errors": "1", "skipped": "0", "time": "0.000"}
    element = ElementTree.Element("testsuite", {"name": _xml(name), **counts})
    element.append(_element(JUnitCase("run", "error", message), _xml(name).removesuffix(".onnx")))
    return element


def _properties(report: Report) -> dict[str, object]:
    found: dict[str, object] = {f"version.{name}": v for name, v in report.versions.items()}
    return found | {
        "status": report.status,
        "recipe": report.recipe,
        "recipe_digest": report.recipe_digest,
        "source_sha256": report.source_sha256 or "",
        "output": report.output or "",
        "seed": report.seed,
        "nodes_before": report.before.nodes,
        "nodes_after": report.after.nodes,
        "file_bytes_before": report.before.file_bytes,
        "file_bytes_after": report.after.file_bytes,
    }


def _element(case: JUnitCase, class_name: str) -> ElementTree.Element:
    element = ElementTree.Element(
        "testcase",
        {"name": _xml(case.name), "classname": class_name, "time": f"{case.seconds:.3f}"},
    )
    if case.outcome:
        message = {"message": _xml(case.message)}
        if case.outcome != "skipped":
            message["type"] = "graphopt"
        ElementTree.SubElement(element, case.outcome, message).text = _xml("\n".join(case.details))
    return element


def _xml(text: str) -> str:
    """The text, with what XML cannot hold written as Python would escape it."""
    return _NOT_XML.sub(lambda found: ascii(found.group())[1:-1], text)

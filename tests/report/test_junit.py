from __future__ import annotations

import dataclasses
import re
from itertools import product
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from graphopt.report import Check, PassResult, Report, RequirementOutcome, StageReport
from graphopt.report.junit import Judgement, to_junit
from tests.build import few
from tests.report.samples import report, verification

MET = RequirementOutcome("size_ratio < 1", "size_ratio", 0.5, True)
MISSED = RequirementOutcome("snr_db >= 40", "snr_db", 10.5, False, "optimisations all")
UNKNOWN = RequirementOutcome("macs_ratio < 1", "macs_ratio", None, None, "unknown for the result")

IDLE = report(
    stages=(
        StageReport(
            1,
            True,
            (PassResult("quantize_weights", 0, {"too small": 2, "odd": 1}, 0.1, "lossy"),),
            verification(),
        ),
    )
)

REQUIRED = {
    "testsuites": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testcase": {"name", "classname", "time"},
    "property": {"name", "value"},
    "failure": {"message", "type"},
    "skipped": {"message"},
    "properties": set(),
}
"""Elements and attributes that every reader knows: Jenkins' junit-10.xsd, GitLab's, Azure's."""


def suites(text: str) -> list[TestSuite]:
    return list(JUnitXml.fromstring(text.encode()))


def cases(one: Report, **options: bool) -> dict[str, TestCase]:
    (suite,) = suites(to_junit([one], Judgement(**options)))
    found = {case.name: case for case in suite}
    assert len(found) == suite.tests
    return found


def said(case: TestCase) -> tuple[str, str] | None:
    """What became of a case that did not pass, and why."""
    if not case.result:
        return None
    (result,) = case.result
    kinds = {Failure: "failure", Skipped: "skipped"}
    return kinds[type(result)], result.message


def unverified(note: str = "") -> Report:
    outcome = verification(status="not verified", note=note, losses=(),
                           checks=(Check("y", "not verified", "never varies"),))  # fmt: skip
    return report(status="unverified", verification=outcome)


FAILED = report(
    status="failed",
    verification=verification(
        status="failed",
        checks=(Check("x", "ok"), Check("y", "failed", "differs"), Check("z", "failed", "is NaN")),
    ),
)


def test_elements_and_attributes_are_those_that_readers_know() -> None:
    root = ElementTree.fromstring(to_junit([report(requirements=(MISSED,)), unverified()]))
    met = set()
    for element in root.iter():
        met.add(element.tag)
        assert set(element.attrib) == REQUIRED[element.tag]
        if "time" in element.attrib:
            assert re.fullmatch(r"\d+\.\d{3}", element.attrib["time"])
    assert met == set(REQUIRED)


def test_a_suite_a_model() -> None:
    found = suites(to_junit([report(source="a.onnx"), report(source=None)]))
    assert [suite.name for suite in found] == ["a.onnx", "model"]


def test_models_without_a_report() -> None:
    text = to_junit([report()], errors={"bad.onnx": "is empty", "worse\x00.onnx": ""})
    whole: Any = JUnitXml.fromstring(text.encode())
    assert [suite.name for suite in whole] == ["in.onnx", "bad.onnx", "worse\\x00.onnx"]
    assert (whole.tests, whole.failures, whole.errors, whole.skipped) == (5, 0, 2, 1)
    (case,) = list(whole)[1]
    assert isinstance(case.result[0], Error)
    assert case.result[0].message == "is empty"


def test_counts_add_up() -> None:
    text = to_junit([report(requirements=(MET, MISSED, UNKNOWN)), FAILED, unverified()])
    whole: Any = JUnitXml.fromstring(text.encode())
    stated = (whole.tests, whole.failures, whole.errors, whole.skipped, whole.time)
    whole.update_statistics()
    assert stated[:4] == (whole.tests, whole.failures, whole.errors, whole.skipped)
    assert stated[:4] == (11, 4, 0, 3)
    assert stated[4] == pytest.approx(3 * report().seconds)
    assert [suite.failures for suite in whole] == [2, 1, 1]


def test_cases_of_a_run() -> None:
    found = cases(report(requirements=(MET, MISSED, UNKNOWN)))
    assert {name: said(case) for name, case in found.items()} == {
        "stage 1: verification": None,
        "stage 1: fuse_conv_batchnorm at Conv c7 (t7 #0)": (
            "skipped", "left out: y: differs by 1"),
        "requirement: size_ratio < 1": None,
        "requirement: snr_db >= 40": ("failure", "NOT MET, 10.5 (optimisations all)"),
        "requirement: macs_ratio < 1": ("failure", "NOT MEASURED (unknown for the result)"),
    }  # fmt: skip


def test_time_of_a_stage_is_that_of_its_passes() -> None:
    assert cases(report())["stage 1: verification"].time == 0.5


def test_what_failed_is_told_whole() -> None:
    case = cases(FAILED)["stage 1: verification"]
    assert said(case) == ("failure", "failed: y: failed differs")
    assert case.result[0].text == "y: failed differs\nz: failed is NaN"


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ("", "not verified: y: not verified never varies"),
        ("it does not run", "not verified: it does not run"),
    ],
)
def test_unverified_is_a_failure_unless_it_is_allowed(note: str, message: str) -> None:
    name = "stage 1: verification"
    assert said(cases(unverified(note))[name]) == ("failure", message)
    assert said(cases(unverified(note), allow_unverified=True)[name]) == ("skipped", message)


def test_what_failed_is_never_allowed() -> None:
    case = cases(FAILED, allow_unverified=True)["stage 1: verification"]
    assert said(case) == ("failure", "failed: y: failed differs")


def test_left_out_is_a_failure_when_strict() -> None:
    (case,) = (c for name, c in cases(report(), strict=True).items() if "batchnorm" in name)
    assert said(case) == ("failure", "left out: y: differs by 1")


def test_lossy_pass_that_changed_nothing() -> None:
    name = "stage 1: quantize_weights changes something"
    assert said(cases(IDLE)[name]) == ("skipped", IDLE.idle_lines()[0])
    assert said(cases(IDLE, require_change=True)[name]) == ("failure", IDLE.idle_lines()[0])
    assert "2 x too small; 1 x odd" in IDLE.idle_lines()[0]
    assert name not in cases(report())


def test_unchanged_model_is_a_failure_when_a_change_is_required() -> None:
    same = report(changed=False)
    found = cases(same, require_change=True)
    assert said(found["something changes"]) == ("failure", "nothing was changed")
    assert "something changes" not in cases(same)
    assert "something changes" not in cases(report(), require_change=True)


def test_stage_that_was_taken_back() -> None:
    stage = StageReport(1, True, (), verification(checks=()), (), "more than 16 rewrites failed")
    found = cases(report(stages=(report().stages[0], stage)))
    assert said(found["stage 2: rewrites kept"]) == ("skipped", "more than 16 rewrites failed")
    assert said(found["stage 2: verification"]) is None


def test_class_name_has_no_suffix_that_readers_take_for_a_class() -> None:
    for case in cases(report(source="models/net.onnx")).values():
        assert case.classname == "models/net"


def test_properties() -> None:
    suite: Any = suites(to_junit([report(source_sha256=None)]))[0]
    found = {entry.name: entry.value for entry in suite.properties()}
    assert found["version.onnx"] == "1.19"
    assert (found["recipe"], found["recipe_digest"]) == ("exact", "cd" * 32)
    assert (found["nodes_before"], found["nodes_after"]) == ("1234", "1000")
    assert found["source_sha256"] == ""


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b[31mred\x00", "\\x1b[31mred\\x00"),
        ("caf\udce9", "caf\\udce9"),
        ("\ufffe\uffff", "\\ufffe\\uffff"),
        ("<&\"'>]]>", "<&\"'>]]>"),
        ("модель 😀", "модель 😀"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
    ],
)
def test_names_that_xml_cannot_hold(name: str, shown: str) -> None:
    (suite,) = suites(to_junit([report(source=name)]))
    assert suite.name == shown


@given(st.text(st.characters(exclude_categories=()), min_size=1))
@example(".")
@few
def test_any_text_anywhere(text: str) -> None:
    check = Check(text, "failed", text)
    stage = dataclasses.replace(
        report().stages[0],
        verification=verification(status="failed", checks=(check, check), note=text),
        taken_back=text,
        left_out=tuple(
            dataclasses.replace(item, root=text, label=text, reason=text)
            for item in report().stages[0].left_out
        ),
    )
    outcome = RequirementOutcome(text, text, None, None, text)
    one = report(source=text, output=text, recipe=text, stages=(stage,), requirements=(outcome,))
    (suite,) = suites(to_junit([one]))
    assert suite.tests == 4
    assert suite.failures == 2


def test_the_same_report_gives_the_same_bytes() -> None:
    assert to_junit([report()]) == to_junit([report()])


def test_nothing_to_report() -> None:
    assert suites(to_junit([])) == []


@pytest.mark.parametrize(
    "judgement", [Judgement(*flags) for flags in product([False, True], repeat=3)]
)
@pytest.mark.parametrize(
    "one",
    [report(), FAILED, unverified(), IDLE, report(changed=False), report(requirements=(UNKNOWN,))],
)
def test_failures_agree_with_the_exit_code(one: Report, judgement: Judgement) -> None:
    """A case fails exactly where `graphopt optimize` gives 1 for the same options."""
    refused = (
        one.status == "failed"
        or (one.status == "unverified" and not judgement.allow_unverified)
        or (judgement.strict and one.left_out)
        or (judgement.require_change and (one.idle or not one.changed))
        or one.unmet
    )
    whole = JUnitXml.fromstring(to_junit([one], judgement).encode())
    assert bool(whole.failures) == bool(refused)

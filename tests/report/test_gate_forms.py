from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml
from markdown_it import MarkdownIt

from graphopt.errors import FileError, UsageError
from graphopt.report.bench import Interval
from graphopt.report.files import json_text
from graphopt.report.gate import GATE_SCHEMA_VERSION, GateReport, GateRow
from graphopt.report.gate_forms import render_gate, to_gate_junit, to_gate_markdown, write_gate
from graphopt.report.text import plain
from tests.report.bench_reports import CPU
from tests.report.schema_file import GATE


def row(**changes: Any) -> GateRow:
    base = GateRow(
        case="CPUExecutionProvider, 2 threads", provider=CPU, threads=2, batch=None,
        shapes={"x": [1, 3]}, mode="alternating", concurrency=1, rate=None,
        baseline_model="a.onnx", candidate_model="b.onnx", baseline=Interval(0.8, 0.79, 0.81),
        candidate=Interval(0.9, 0.89, 0.91), quotient=Interval(1.125, 1.1, 1.15),
        outcome="regression",
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


SURE = row(candidate_model="a.onnx", quotient=Interval(0.9, 0.88, 0.92), outcome="ok")
OPEN = row(candidate=None, quotient=None, outcome="inconclusive")


def found(*rows: GateRow, **changes: Any) -> GateReport:
    base = GateReport(
        GATE_SCHEMA_VERSION, (rows or (row(),))[0].outcome, 0.02, "net.onnx", "aa" * 32,
        "2026-01-02T03:04:05Z", "2026-02-03T04:05:06Z", list(rows or (row(),)), [], [],
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def shown(report: GateReport, width: int = 160) -> list[str]:
    return plain(render_gate(report), width=width).splitlines()


def test_outcome_comes_first() -> None:
    basis = "up to 2 % slower allowed; ratios are to the time of net.onnx (aaaaaaaaaaaa)"
    assert shown(found())[0] == f"gate: REGRESSION; 1 comparison, {basis}"
    assert shown(found(SURE, SURE))[0] == f"gate: ok; 2 comparisons, {basis}"
    assert shown(found(OPEN))[0].startswith("gate: INCONCLUSIVE; 1 comparison")
    assert "up to 0 % slower" in shown(found(tolerance=0.0))[0]
    assert "up to 2.5 % slower" in shown(found(tolerance=0.025))[0]


def test_table() -> None:
    assert shown(found(row(), SURE, OPEN))[1:] == [
        "case                             model                         baseline"
        "             candidate  candidate / baseline       outcome",
        "CPUExecutionProvider, 2 threads  a.onnx -> b.onnx  0.800 [0.790, 0.810]"
        "  0.900 [0.890, 0.910]  1.125 [1.100, 1.150]    REGRESSION",
        "CPUExecutionProvider, 2 threads  a.onnx            0.800 [0.790, 0.810]"
        "  0.900 [0.890, 0.910]  0.900 [0.880, 0.920]            ok",
        "CPUExecutionProvider, 2 threads  a.onnx -> b.onnx  0.800 [0.790, 0.810]"
        "               unknown               unknown  INCONCLUSIVE",
    ]


def test_narrow_terminal_has_lines() -> None:
    text = " ".join(shown(found(row(), OPEN), width=80))
    assert max(map(len, shown(found(row(), OPEN), width=80))) <= 80
    assert (
        "a.onnx -> b.onnx, CPUExecutionProvider, 2 threads: REGRESSION, "
        "1.125 [1.100, 1.150] (0.900 [0.890, 0.910] after 0.800 [0.790, 0.810])"
    ) in text
    assert "INCONCLUSIVE, unknown (unknown after 0.800 [0.790, 0.810])" in text


def test_what_was_forced_or_left_out_is_a_warning() -> None:
    report = found(differences=["machine: a / b"], notes=["only in the baseline: c"])
    said = ["forced, different machine: a / b", "only in the baseline: c"]
    assert shown(report)[-2:] == [f"warning: {line}" for line in said]
    assert to_gate_markdown(report).splitlines()[-2:] == [f"- warning: {line}" for line in said]
    suite: Any = next(iter(JUnitXml.fromstring(to_gate_junit(report).encode())))
    properties = {entry.name: entry.value for entry in suite.properties()}
    assert [properties["warning.1"], properties["warning.2"]] == said


def test_markdown() -> None:
    assert to_gate_markdown(found(row(candidate_model="b|<c>.onnx"), SURE)) == (
        "# Gate: REGRESSION\n\n"
        "2 comparisons, up to 2 % slower allowed; "
        "ratios are to the time of net.onnx (aaaaaaaaaaaa)\n\n"
        "| case | model | baseline | candidate | candidate / baseline | outcome |\n"
        "| --- | --- | --: | --: | --: | --: |\n"
        "| CPUExecutionProvider, 2 threads | a.onnx -\\> b\\|\\<c\\>.onnx "
        "| 0.800 \\[0.790, 0.810\\] | 0.900 \\[0.890, 0.910\\] | 1.125 \\[1.100, 1.150\\] "
        "| REGRESSION |\n"
        "| CPUExecutionProvider, 2 threads | a.onnx "
        "| 0.800 \\[0.790, 0.810\\] | 0.900 \\[0.890, 0.910\\] | 0.900 \\[0.880, 0.920\\] | ok |\n"
    )


def test_markdown_is_a_table_to_its_readers() -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(to_gate_markdown(found(row(), OPEN)))
    assert sum(token.type == "tr_open" for token in tokens) == 3


def test_junit_fails_where_the_exit_code_is_not_0() -> None:
    whole: Any = JUnitXml.fromstring(to_gate_junit(found(row(), SURE, OPEN)).encode())
    assert (whole.tests, whole.failures, whole.errors, whole.skipped) == (3, 2, 0, 0)
    (suite,) = whole
    cases = [(case.name, [result.message for result in case.result]) for case in suite]
    assert cases == [
        ("a.onnx -> b.onnx: CPUExecutionProvider, 2 threads",
         ["REGRESSION: candidate / baseline 1.125 [1.100, 1.150], 1.02 allowed"]),
        ("a.onnx: CPUExecutionProvider, 2 threads", []),
        ("a.onnx -> b.onnx: CPUExecutionProvider, 2 threads",
         ["INCONCLUSIVE: candidate / baseline unknown, 1.02 allowed"]),
    ]  # fmt: skip
    assert whole.failures == 2


def test_control_characters_are_written_as_escapes() -> None:
    odd = found(row(candidate_model="\x1b[31m\ngate: ok"))
    assert "\x1b" not in "".join(shown(odd))
    assert "\x1b" not in to_gate_markdown(odd)
    assert not any(line.startswith("gate: ok") for line in shown(odd))


@pytest.mark.parametrize("suffix", [".json", ".md", ".xml"])
def test_format_by_suffix(tmp_path: Path, suffix: str) -> None:
    report = found(row(), OPEN)
    write_gate(report, tmp_path / f"g{suffix}")
    text = (tmp_path / f"g{suffix}").read_text(encoding="utf-8")
    forms = {
        ".json": json_text(report.to_dict()),
        ".md": to_gate_markdown(report),
        ".xml": to_gate_junit(report),
    }
    assert text == forms[suffix]


def test_json_fits_its_schema_with_no_field_more_and_none_less(tmp_path: Path) -> None:
    write_gate(found(row(), OPEN), tmp_path / "g.json")
    data = json.loads((tmp_path / "g.json").read_text())
    GATE.validator(closed=True).validate(data)
    kinds = GATE.generated()["$defs"]
    assert list(kinds["GateReport"]["properties"]) == list(data)
    assert list(kinds["GateRow"]["properties"]) == list(data["rows"][0])
    assert kinds["GateRow"]["properties"]["quotient"]["description"].startswith("candidate / base")


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown suffix"):
        write_gate(found(), tmp_path / "g.html")
    with pytest.raises(FileError, match="folder does not exist"):
        write_gate(found(), tmp_path / "none" / "g.md")
    assert list(tmp_path.iterdir()) == []

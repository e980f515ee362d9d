from __future__ import annotations

import json
from itertools import permutations

from graphopt.report.findings import LEVELS, Finding, findings_dict, render_findings, worst
from graphopt.report.text import plain

HINT = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"

FINDINGS = [
    Finding("version", "python", "ok", "3.11.7", facts={"version": "3.11.7"}),
    Finding("provider", "[red]odd[/red]", "note", "does not open"),
    Finding("distributions", "onnxruntime", "problem", "two of them", HINT),
    Finding("files", "onnxruntime-gpu", "problem", "16 changed", HINT),
    Finding("import", "onnxruntime", "problem", "broken", HINT),
    Finding("passes", "acme", "warning", "broken", "uninstall acme"),
]


def test_worst_is_the_most_harmful_in_any_order() -> None:
    assert worst([]) == "ok"
    assert list(LEVELS) == ["ok", "note", "warning", "problem"]
    for count in range(1, 5):
        for some in permutations(LEVELS, count):
            findings = [Finding("version", "x", level, "") for level in some]
            assert worst(findings) == max(some, key=LEVELS.index)


def test_json_has_stable_keys() -> None:
    data = json.loads(json.dumps(findings_dict(FINDINGS)))
    assert list(data) == ["schema", "status", "counts", "findings"]
    assert (data["schema"], data["status"]) == (1, "problem")
    assert data["counts"] == {"ok": 1, "note": 1, "warning": 1, "problem": 3}
    keys = {"check", "subject", "level", "text", "hint", "facts"}
    assert [set(finding) for finding in data["findings"]] == [keys] * 6
    assert data["findings"][0]["facts"] == {"version": "3.11.7"}


def test_text_tells_the_worst_first_and_every_finding() -> None:
    lines = plain(render_findings(FINDINGS), width=100).splitlines()
    assert lines[0] == "doctor: problem (3 problems, 1 warning, 1 note)"
    rows = [line.split()[0] for line in lines[2:8]]
    assert rows == ["ok", "note", "problem", "problem", "problem", "warning"]
    assert "[red]odd[/red]" in lines[3]


def test_hints_come_once_and_the_worst_first() -> None:
    lines = plain(render_findings(FINDINGS), width=160).splitlines()
    assert lines[-2:] == [
        f"hint (onnxruntime, onnxruntime-gpu): {HINT}",
        "hint (acme): uninstall acme",
    ]


def test_many_subjects_of_one_hint_are_counted() -> None:
    many = [Finding("cuda library", f"lib{i}", "warning", "missing", "get it") for i in range(7)]
    last = plain(render_findings(many)).splitlines()[-1]
    assert last == "hint (lib0, lib1, lib2 and 4 more): get it"


def test_notes_alone_are_ok() -> None:
    assert plain(render_findings(FINDINGS[:2])).splitlines()[0] == "doctor: ok (1 note)"
    assert plain(render_findings(FINDINGS[:1])).splitlines()[0] == "doctor: ok"

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from graphopt.report.findings import Finding, worst
from graphopt.runtime import doctor
from graphopt.runtime.child import Answer
from graphopt.runtime.doctor import (
    diagnose,
    guarded,
    isolation_finding,
    memory_finding,
    space_finding,
)
from graphopt.runtime.doctor_probe import Y

Usage = namedtuple("Usage", "total used free")


def levels(findings: list[Finding]) -> dict[tuple[str, str], str]:
    return {(found.check, found.subject): found.level for found in findings}


def test_this_machine_is_fit() -> None:
    told: list[str] = []
    findings = diagnose(told.append)
    assert worst(findings) in ("ok", "note", "warning"), findings
    checks = {found.check for found in findings}
    assert checks >= {"version", "distributions", "files", "import", "provider", "memory limit"}
    found = levels(findings)
    assert found["provider", "CPUExecutionProvider"] == "ok"
    assert found["isolation", "runtime process"] == "ok"
    assert len(told) == 6


def test_broken_runtime_costs_no_other_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text("import os; os.abort()")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = levels(diagnose())
    assert found["import", "onnxruntime"] == "problem"
    assert found["isolation", "runtime process"] == "problem"
    assert found["import", "onnx"] == "ok"
    assert ("temporary folder", tempfile.gettempdir()) in found
    assert not any(check == "provider" for check, _ in found)


def test_check_that_raises_is_a_finding() -> None:
    def check() -> list[Finding]:
        raise ValueError("of an unknown\nkind")

    (found,) = guarded("isolation", check)
    assert (found.check, found.level) == ("isolation", "problem")
    assert found.text == "the check itself failed: ValueError: of an unknown kind"


def test_wrong_answer_in_isolation_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "Y", Y + 1)
    assert isolation_finding().level == "problem"


def test_no_process_for_isolation_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert isolation_finding().level == "problem"
    assert memory_finding().level == "warning"


@pytest.mark.parametrize(
    ("facts", "level", "words"),
    [
        ({"bytes": 3 << 30, "holds": True}, "ok", "3.0 GiB"),
        ({"bytes": None, "holds": False}, "note", "does not limit"),
        ({"bytes": 3 << 30, "holds": False}, "note", "does not limit"),
    ],
)
def test_memory_limit(
    monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], level: str, words: str
) -> None:
    monkeypatch.setattr(doctor, "ask", lambda function: Answer(facts, "", ""))
    found = memory_finding()
    assert (found.level, found.facts) == (level, facts)
    assert words in found.text


@pytest.mark.parametrize(("free", "level"), [(20 << 30, "ok"), (200 << 20, "warning")])
def test_free_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(1 << 40, 0, free))
    found = space_finding()
    assert (found.subject, found.level) == (str(tmp_path), level)
    assert found.facts == {"free_bytes": free}
    assert bool(found.hint) is (level == "warning")


def test_temporary_folder_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    found = space_finding()
    assert (found.level, found.subject) == ("problem", str(tmp_path / "gone"))
    assert isolation_finding().level == "problem"

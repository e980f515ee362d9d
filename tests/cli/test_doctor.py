from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import graphopt.runtime.doctor
from graphopt.cli import doctor_passes
from graphopt.report.findings import Finding, Level
from tests.cli.conftest import Done, Run, is_error


def test_this_machine(run: Run) -> None:
    done = run("doctor")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("doctor: ")
    rows = [line.split() for line in done.out.splitlines()]
    for words in (
        ["ok", "version", "onnx"], ["ok", "provider", "CPUExecutionProvider"],
        ["ok", "isolation", "runtime", "process"], ["ok", "passes", "graphopt"],
    ):  # fmt: skip
        assert any(row[: len(words)] == words for row in rows), words
    assert done.out.isascii()
    assert "\x1b" not in done.out


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the command will find."""
    findings = [Finding("version", "python", "ok", "3.11", facts={"version": "3.11"})]
    monkeypatch.setattr(graphopt.runtime.doctor, "diagnose", lambda progress: findings)
    monkeypatch.setattr(doctor_passes, "pass_findings", list)
    return findings


@pytest.mark.parametrize(
    ("level", "code", "strict"),
    [("ok", 0, 0), ("note", 0, 0), ("warning", 0, 1), ("problem", 1, 1)],
)
def test_exit_codes(run: Run, found: list[Finding], level: Level, code: int, strict: int) -> None:
    found.append(Finding("driver", "libcuda.so.1", level, "so it is", "do this"))
    assert run("doctor").code == code
    assert run("doctor", "--strict").code == strict
    done = run("doctor", "--json")
    assert done.code == code
    assert json.loads(done.out)["status"] == level
    assert "hint (libcuda.so.1): do this" in run("doctor").out


def test_json_is_all_there_is_on_stdout(run: Run, found: list[Finding]) -> None:
    done = run("doctor", "--json", "-v")
    assert json.loads(done.out) == {
        "schema": 1,
        "status": "ok",
        "counts": {"ok": 1, "note": 0, "warning": 0, "problem": 0},
        "findings": [
            {"check": "version", "subject": "python", "level": "ok", "text": "3.11", "hint": "",
             "facts": {"version": "3.11"}}
        ],
    }  # fmt: skip
    assert "looking at: passes" in done.err


def test_check_of_the_passes_that_fails_is_a_finding(
    run: Run, found: list[Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_passes, "pass_findings", lambda: [][1])
    done = run("doctor")
    assert done.code == 1
    assert "the check itself failed: IndexError" in done.out


def test_arguments_are_refused(run: Run) -> None:
    assert is_error(run("doctor", "model.onnx"), 2, "model.onnx")


@pytest.mark.parametrize("name", ["numpy", "onnx"])
def test_broken_need_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("raise TypeError('built for another Python')")
    done = subprocess.run(
        [sys.executable, "-m", "graphopt", "doctor"],
        capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    words = "TypeError: built for another Python"
    assert is_error(Done(done.returncode, done.stdout, done.stderr), 1, words, "pip install")

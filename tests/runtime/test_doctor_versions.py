from __future__ import annotations

import platform
import sys
from importlib import metadata
from pathlib import Path

import pytest

from graphopt.report.findings import Finding
from graphopt.runtime import doctor_versions
from graphopt.runtime.child import Answer
from graphopt.runtime.doctor_distributions import Installed, installed_runtimes
from graphopt.runtime.doctor_versions import (
    SHOWN,
    import_findings,
    satisfies,
    version_findings,
    wanted_versions,
)


def found_in(findings: list[Finding]) -> dict[str, Finding]:
    return {found.subject: found for found in findings}


def test_versions_of_this_machine() -> None:
    runtimes = installed_runtimes()
    found = found_in(version_findings(runtimes))
    assert {f.level for f in found.values()} == {"ok"}
    assert found["python"].facts["version"] == platform.python_version()
    assert found["graphopt"].text == metadata.version("graphopt")
    for name in SHOWN:
        assert found[name].text == metadata.version(name)
    assert [one.name for one in runtimes] == [name for name in found if "onnxruntime" in name]


def test_what_is_missing_or_too_old_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"graphopt": "0.1.0", "onnx": "1.19.1", "numpy": "1.26.4"}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    texts = ["onnx>=1.20", "numpy>=1.26", "click>=8.1", "onnxruntime>=1.20", "ruff; extra == 'dev'"]
    monkeypatch.setattr(doctor_versions, "version", version)
    monkeypatch.setattr(doctor_versions, "requires", lambda name: texts)
    old = Installed("onnxruntime-openvino", "1.17.0", Path(), ())
    found = found_in(version_findings([old]))
    assert found["onnx"].text == "1.19.1, but graphopt needs >=1.20"
    assert found["onnx"].hint == "pip install 'onnx>=1.20'"
    assert found["numpy"].level == "ok"
    assert (found["click"].text, found["click"].level) == ("not installed", "problem")
    assert found["onnxruntime-openvino"].level == "problem"
    assert "ruff" not in found
    assert "onnxruntime" not in found


def test_sources_that_are_not_installed_are_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor_versions, "requires", nothing)
    assert wanted_versions() == {}
    monkeypatch.setattr(doctor_versions, "version", nothing)
    assert found_in(version_findings([]))["graphopt"].level == "note"


def test_without_packaging_presence_is_still_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("packaging.requirements", "packaging.specifiers"):
        monkeypatch.setitem(sys.modules, name, None)
    texts = ["onnx>=1.20", "ml-dtypes", 'ruff>=1; extra == "dev"']
    monkeypatch.setattr(doctor_versions, "requires", lambda name: texts)
    assert wanted_versions() == {"onnx": "", "ml-dtypes": ""}
    assert satisfies("0.1", ">=1.20")


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ("1.20.0", ">=1.20", True), ("1.19.9", ">=1.20", False), ("1.31.0.dev2", ">=1.20", True),
        ("1.20.1+cu118", ">=1.20", True), ("of our own", ">=1.20", True), ("1", "", True),
    ],
)  # fmt: skip
def test_satisfies(found: str, wanted: str, expected: bool) -> None:
    assert satisfies(found, wanted) is expected


def test_needs_can_be_imported() -> None:
    assert {f.level for f in import_findings()} == {"ok"}
    assert {f.subject for f in import_findings()} == {
        "numpy", "ml_dtypes", "onnx", "onnx_graphsurgeon",
    }  # fmt: skip


def test_need_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onnx_graphsurgeon.py").write_text("raise TypeError('Descriptors cannot')")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = found_in(import_findings())["onnx_graphsurgeon"]
    assert (found.level, found.text) == ("problem", "TypeError: Descriptors cannot")
    assert found.hint == "pip install --force-reinstall --no-deps onnx-graphsurgeon"


def test_need_that_crashes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    log = "importing numpy\nimporting ml_dtypes\n"
    monkeypatch.setattr(doctor_versions, "ask", lambda *a: Answer(None, "died (SIGILL)", log))
    (found,) = import_findings()
    assert (found.level, found.text) == ("problem", "died (SIGILL); importing ml_dtypes")

"""Versions of what graphopt runs on, against what it asks for."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version

from graphopt.report.findings import Finding
from graphopt.runtime.child import ask
from graphopt.runtime.doctor_distributions import Installed
from graphopt.runtime.doctor_probe import import_modules

SHOWN = ("onnx", "onnx-graphsurgeon", "numpy", "ml-dtypes")
"""Distributions whose version is always told."""
_IMPORTED = {"numpy": "numpy", "ml-dtypes": "ml_dtypes", "onnx": "onnx",
             "onnx-graphsurgeon": "onnx_graphsurgeon"}  # fmt: skip


def version_findings(runtimes: Sequence[Installed]) -> list[Finding]:
    """Python, the platform, graphopt, and each distribution that it needs.

    Args:
        runtimes: The distributions of ONNX Runtime, any of which does.
    """
    python = f"{platform.python_version()} ({sys.executable})"
    findings = [
        Finding("version", "python", "ok", python, facts={"version": platform.python_version()}),
        Finding("version", "platform", "ok", platform.platform()),
        _own(),
    ]
    wanted = wanted_versions()
    runtime = next((text for name, text in wanted.items() if name.startswith("onnxruntime")), "")
    for name in dict.fromkeys([*SHOWN, *wanted]):
        if not name.startswith("onnxruntime"):
            findings += _needed(name, _installed_version(name), wanted.get(name, ""))
    for one in runtimes:
        findings += _needed(one.name, one.version, runtime)
    return findings


def import_findings() -> list[Finding]:
    """Import what graphopt needs in a child process, where native code may crash."""
    answer = ask(import_modules, list(_IMPORTED.values()))
    if answer.failure:
        begun = next((line for line in reversed(answer.log.splitlines()) if line), "")
        text = f"{answer.failure}; {begun}".rstrip("; ")
        return [Finding("import", "graphopt's needs", "problem", text)]
    return [
        Finding("import", module, "problem", answer.value[module], _reinstall(name))
        if answer.value[module]
        else Finding("import", module, "ok", "can be imported")
        for name, module in _IMPORTED.items()
    ]


def wanted_versions() -> dict[str, str]:
    """What graphopt asks for on this machine: version specifiers by name, empty without metadata.

    A specifier is empty when nothing here can read it.
    """
    try:
        texts = requires("graphopt") or []
    except PackageNotFoundError:
        return {}
    try:
        from packaging.requirements import Requirement
    except ImportError:  # it comes with onnxruntime
        return {
            re.split(r"[^\w.-]", text)[0].lower(): "" for text in texts
            if ";" not in text
        }  # fmt: skip
    found = map(Requirement, texts)
    return {
        one.name.lower(): str(one.specifier)
        for one in found
        if one.marker is None or one.marker.evaluate({"extra": ""})
    }


def satisfies(found: str, wanted: str) -> bool:
    """True when a version is in the range, or when nothing here can tell."""
    try:
        from packaging.specifiers import SpecifierSet
        from packaging.version import Version

        return SpecifierSet(wanted).contains(Version(found), prereleases=True)
    except (ImportError, ValueError):
        return True


def _own() -> Finding:
    found = _installed_version("graphopt")
    if found is None:
        text = "run from its sources without being installed"
        return Finding("version", "graphopt", "note", text, facts={"version": None})
    return Finding("version", "graphopt", "ok", found, facts={"version": found})


def _needed(name: str, found: str | None, wanted: str) -> list[Finding]:
    hint = f"pip install '{name}{wanted}'"
    if found is None:
        return [Finding("version", name, "problem", "not installed", hint, {"version": None})]
    facts = {"version": found}
    if not satisfies(found, wanted):
        text = f"{found}, but graphopt needs {wanted}"
        return [Finding("version", name, "problem", text, hint, facts)]
    return [Finding("version", name, "ok", found, facts=facts)]


def _installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _reinstall(name: str) -> str:
    return f"pip install --force-reinstall --no-deps {name}"

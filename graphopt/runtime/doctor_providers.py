"""The execution providers that ONNX Runtime lists, and which of them really run a model.

Without a GPU a CUDA session does not raise: it logs, and runs on the CPU.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graphopt.report.findings import Finding, Level
from graphopt.runtime.child import Answer, ask
from graphopt.runtime.doctor_cuda import CUDA, INSTALL, Driver
from graphopt.runtime.doctor_distributions import Installed, reinstallation, wanted_runtime
from graphopt.runtime.doctor_probe import describe_runtime, open_session

CPU = "CPUExecutionProvider"
_TENSORRT = ("TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")
"""Compiled into every onnxruntime-gpu, of use only to whoever installs TensorRT too."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_REASONS = (r"with error: (.+)", r"EP Error ([^*].+)", r"(Failed to create .+)")


@dataclass(frozen=True, slots=True)
class Runtime:
    """The package `onnxruntime`, as it imports.

    Attributes:
        folder: Where it lies; None when it cannot be imported.
        cuda_version: The CUDA it was built with, empty when none or unknown.
        providers: Execution providers it lists.
    """

    folder: Path | None = None
    cuda_version: str = ""
    providers: tuple[str, ...] = ()


def read_runtime(installed: Sequence[Installed]) -> tuple[Runtime, Finding]:
    """Import onnxruntime in a child process.

    Args:
        installed: The distributions that bring it, to compare where it comes from.
    """
    answer = ask(describe_runtime)
    if answer.failure:
        _, missing, more = answer.failure.partition("No module named 'onnxruntime'")
        text = f"not installed{more}" if missing else f"cannot be imported: {answer.failure}"
        several = len({one.folder for one in installed}) < len(installed)
        hint = "" if several else _install(installed)
        return Runtime(), Finding("import", "onnxruntime", "problem", text, hint)
    found = answer.value
    folder = Path(found["file"]).resolve().parent
    runtime = Runtime(folder, found["cuda_version"], tuple(found["providers"]))
    facts = {**found, "file": str(folder / Path(found["file"]).name)}
    text = f"{found['version']} from {folder}"
    if installed and folder not in [one.folder / "onnxruntime" for one in installed]:
        text += ", which no distribution installed"
        hint = f"start graphopt elsewhere, or move {folder} away"
        return runtime, Finding("import", "onnxruntime", "warning", text, hint, facts)
    return runtime, Finding("import", "onnxruntime", "ok", text, facts=facts)


def _install(installed: Sequence[Installed]) -> str:
    return reinstallation(installed[0]) if installed else f"pip install {wanted_runtime()}"


def provider_findings(providers: Sequence[str], driver: Driver) -> list[Finding]:
    """Run a tiny model on each provider, each in a process of its own.

    Args:
        providers: Those that onnxruntime lists; the CPU's is looked at in any case.
        driver: What the NVIDIA driver says: without a GPU a CUDA provider is not meant to open.
    """
    return [_provider(name, driver) for name in dict.fromkeys([*providers, CPU])]


def opens(findings: Sequence[Finding], provider: str) -> bool:
    """Whether a provider opened a session, as `provider_findings` found."""
    return any(found.subject == provider and found.facts["opened"] for found in findings)


def _provider(name: str, driver: Driver) -> Finding:
    answer = ask(open_session, name)
    facts = answer.value or {"opened": False, "right": False, "used": False}
    if not facts["opened"]:
        level, hint = _unopened(name, driver)
        text = f"does not open a session: {reason(answer)}"
        return Finding("provider", name, level, text, hint, facts)
    if not facts["right"]:
        hint = "do not use it; update its libraries and its driver"
        return Finding("provider", name, "problem", "gives a wrong answer", hint, facts)
    if not facts["used"]:
        text = "opens a session, but leaves the test model to the CPU"
        return Finding("provider", name, "note", text, facts=facts)
    return Finding("provider", name, "ok", "opens a session, right answer", facts=facts)


def _unopened(name: str, driver: Driver) -> tuple[Level, str]:
    if name == CPU:
        return "problem", "reinstall onnxruntime, one distribution only"
    if name in _TENSORRT:
        return "note", "install TensorRT, if you want it" if driver.is_expected else ""
    if name == CUDA:
        return ("warning", INSTALL) if driver.is_expected else ("note", "")
    return "warning", "install what this execution provider needs, or another onnxruntime"


def reason(answer: Answer) -> str:
    """Why a session did not open, in one line, from what was raised or logged."""
    if answer.failure:
        return answer.failure
    log = _COLOUR.sub("", answer.log)
    for pattern in _REASONS:
        found = re.search(pattern, log)
        if found:
            return " ".join(found[1].split())[:200]
    return "ONNX Runtime runs it on the CPU instead"

"""`graphopt doctor`: what works here, measured. Whatever may crash or hang runs in a child."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from graphopt.errors import GraphoptError
from graphopt.report.findings import Finding
from graphopt.runtime.child import ask
from graphopt.runtime.doctor_cuda import CUDA, driver_findings, library_findings, read_driver
from graphopt.runtime.doctor_distributions import distribution_findings, installed_runtimes
from graphopt.runtime.doctor_probe import X, Y, memory_limit, tiny_model
from graphopt.runtime.doctor_providers import opens, provider_findings, read_runtime
from graphopt.runtime.doctor_versions import import_findings, version_findings
from graphopt.runtime.isolated import IsolatedRuntime, Session

SECONDS = 60.0
"""Limit of the isolated run of a tiny model."""
LOW_SPACE = 1 << 30
"""Free bytes in the temporary folder under which models of ordinary size do not fit."""

Progress = Callable[[str], None]


def diagnose(progress: Progress = lambda what: None) -> list[Finding]:
    """Look at everything that running models depends on.

    Args:
        progress: Called with a few words whenever something new is begun.

    Returns:
        Findings in a fixed order; a check that fails itself is a finding too.
    """
    checks: tuple[tuple[str, Callable[[], Sequence[Finding]]], ...] = (
        ("distributions", _distributions),
        ("import", import_findings),
        ("provider", _runtime),
        ("isolation", lambda: [isolation_finding()]),
        ("memory limit", lambda: [memory_finding()]),
        ("temporary folder", lambda: [space_finding()]),
    )
    findings: list[Finding] = []
    for name, check in checks:
        progress(f"looking at: {name}")
        findings += guarded(name, check)
    return findings


def guarded(name: str, check: Callable[[], Sequence[Finding]]) -> Sequence[Finding]:
    """Run a check; one that raises must not cost the findings of the others."""
    try:
        return check()
    except Exception as error:
        text = " ".join(f"the check itself failed: {type(error).__name__}: {error}".split())
        hint = "this is a defect of graphopt; report it"
        return [Finding(name, "graphopt", "problem", text, hint)]


def _distributions() -> list[Finding]:
    installed = installed_runtimes()
    return [*version_findings(installed), *distribution_findings(installed)]


def _runtime() -> list[Finding]:
    """What onnxruntime imports as, the driver, the providers, and the CUDA libraries."""
    runtime, imported = read_runtime(installed_runtimes())
    driver = read_driver()
    driven = driver_findings(driver, runtime.providers, runtime.cuda_version)
    if runtime.folder is None:
        return [imported, *driven]
    found = [imported, *driven, *provider_findings(runtime.providers, driver)]
    if CUDA in runtime.providers:
        found += library_findings(runtime.folder, driver, opens=opens(found[1:], CUDA))
    return found


def isolation_finding() -> Finding:
    """Run a tiny model as graphopt runs every model: in the process that `isolated.py` keeps."""
    subject = "runtime process"
    runtime = IsolatedRuntime(timeout=SECONDS)
    try:
        with tempfile.TemporaryDirectory(prefix="graphopt-doctor-") as folder:
            path = Path(folder) / "tiny.onnx"
            path.write_bytes(tiny_model())
            found = runtime.open(Session(path)).run({"x": X})["y"]
    except (GraphoptError, OSError) as error:
        text = f"a model cannot be run in isolation: {error}"
        return Finding("isolation", subject, "problem", text)
    finally:
        runtime.close()
    if not np.array_equal(found, Y):
        return Finding("isolation", subject, "problem", "gives a wrong answer")
    return Finding("isolation", subject, "ok", "runs a model and gives the right answer")


def memory_finding() -> Finding:
    """Whether a model that asks for too much memory is stopped."""
    subject = "runtime process"
    answer = ask(memory_limit)
    if answer.failure:
        text = f"cannot be tried: {answer.failure}"
        return Finding("memory limit", subject, "warning", text)
    facts = answer.value
    if not facts["holds"]:
        text = "this system does not limit a process: a model may use all memory there is"
        return Finding("memory limit", subject, "note", text, facts=facts)
    text = f"more than {facts['bytes'] / 2**30:.1f} GiB is refused"
    return Finding("memory limit", subject, "ok", text, facts=facts)


def space_finding() -> Finding:
    """The temporary folder takes files, and how much of them."""
    hint = "set TMPDIR (Windows: TEMP) to a folder on a disk with more space"
    try:
        folder = tempfile.gettempdir()
        with tempfile.TemporaryFile() as stream:
            stream.write(bytes(1 << 16))
            stream.flush()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        text = f"cannot be written: {error.strerror or error}"
        return Finding("temporary folder", tempfile.tempdir or "", "problem", text, hint)
    facts = {"free_bytes": free}
    text = f"{free / 2**30:.1f} GiB free"
    if free < LOW_SPACE:
        return Finding("temporary folder", folder, "warning", text, hint, facts)
    return Finding("temporary folder", folder, "ok", text, facts=facts)

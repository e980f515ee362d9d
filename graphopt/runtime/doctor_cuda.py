"""NVIDIA's driver and the CUDA libraries that this ONNX Runtime needs, each by name."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphopt.report.findings import Finding, Level
from graphopt.runtime.child import ask
from graphopt.runtime.doctor_libraries import needed_by
from graphopt.runtime.doctor_probe import find_driver, load_libraries, runtime_libraries

CUDA = "CUDAExecutionProvider"
INSTALL = "pip install 'graphopt[cuda]', or NVIDIA's CUDA toolkit and cuDNN"
_NO_DEVICE, _STUB = 100, 34
_DRIVER_NAMES = ("libcuda.so", "nvcuda.dll")


@dataclass(frozen=True, slots=True)
class Driver:
    """What the NVIDIA driver says.

    Attributes:
        library: The driver's library by name.
        missing: Why it cannot be loaded, empty when it can.
        code: CUDA's status at start, 0 when fine; None when it was not asked.
        version: The newest CUDA that it runs, as (major, minor).
        devices: The GPUs by name.
    """

    library: str = ""
    missing: str = ""
    code: int | None = None
    version: tuple[int, int] | None = None
    devices: tuple[str, ...] = ()

    @property
    def is_expected(self) -> bool:
        """True when there is a GPU, or a driver that fails for another reason than having none."""
        if self.missing or not self.library:
            return False
        return bool(self.devices) or self.code not in (0, _NO_DEVICE, _STUB)


def read_driver() -> Driver:
    """Ask the driver, in a child process; a driver that crashes or hangs has no devices."""
    if sys.platform not in ("linux", "win32"):
        return Driver()
    answer = ask(find_driver)
    if answer.failure:
        return Driver("NVIDIA driver", code=None)
    found = answer.value
    version = found["version"]
    return Driver(
        found["library"], found["missing"] or "", found["code"],
        None if version is None else (version[0], version[1]), tuple(found["devices"]),
    )  # fmt: skip


def driver_findings(driver: Driver, providers: Sequence[str], cuda_version: str) -> list[Finding]:
    """One finding; none where NVIDIA has no driver.

    Args:
        driver: What the driver says.
        providers: Execution providers that onnxruntime lists.
        cuda_version: The CUDA that onnxruntime was built with, empty when unknown.
    """
    if not driver.library:
        return []
    level, text, hint = _judge_driver(driver, providers, cuda_version)
    version = None if driver.version is None else "{}.{}".format(*driver.version)
    facts = {"cuda": version, "devices": list(driver.devices), "code": driver.code}
    return [Finding("driver", driver.library, level, text, hint, facts)]


def _judge_driver(
    driver: Driver, providers: Sequence[str], cuda_version: str
) -> tuple[Level, str, str]:
    if driver.missing:
        return "note", "no NVIDIA driver", ""
    if not driver.is_expected:
        return "note", "an NVIDIA driver without a GPU", ""
    if not driver.devices:
        word = "does not answer" if driver.code is None else f"fails with CUDA error {driver.code}"
        return "warning", f"the NVIDIA driver {word}", "run nvidia-smi; it says what is wrong"
    text = ", ".join(driver.devices)
    if driver.version is not None:
        text += "; CUDA {}.{}".format(*driver.version)
    if CUDA not in providers:
        hint = "onnxruntime-gpu in place of this onnxruntime would use the GPU"
        return "note", f"{text}; this onnxruntime has no {CUDA}", hint
    built = cuda_version.split(".")[0]
    if driver.version is not None and built.isdecimal() and int(built) > driver.version[0]:
        hint = f"update the driver, or install an onnxruntime-gpu for CUDA {driver.version[0]}"
        return "warning", f"{text}; this onnxruntime needs CUDA {built}", hint
    return "ok", text, ""


def library_findings(runtime: Path, driver: Driver, *, opens: bool) -> list[Finding]:
    """A finding for each CUDA library that onnxruntime may load.

    Args:
        runtime: The folder of the package onnxruntime.
        driver: What the driver says.
        opens: Whether the CUDA provider opens a session.
    """
    linked = needed_by(runtime / "capi" / "libonnxruntime_providers_cuda.so")
    needed = [name for name in linked if name.startswith(("libcu", "libnv"))]
    also = ask(runtime_libraries).value or []
    names = [n for n in dict.fromkeys([*needed, *also]) if not n.startswith(_DRIVER_NAMES)]
    if not names:
        return []
    answer = ask(load_libraries, names)
    if answer.failure:
        level: Level = "warning" if driver.is_expected else "note"
        text = f"cannot be looked for: {answer.failure}"
        return [Finding("cuda library", ", ".join(names), level, text)]
    return [
        _library(name, answer.value[name], None if not needed else name in needed, driver, opens)
        for name in names
    ]


def _library(
    name: str, found: Mapping[str, Any], needed: bool | None, driver: Driver, opens: bool
) -> Finding:
    facts = {"path": found["path"] or None, "found": not found["error"], "needed": needed}
    if not found["error"]:
        return Finding("cuda library", name, "ok", found["path"] or "found", facts=facts)
    text = "missing" if _is_absent(name, found["error"]) else f"does not load: {found['error']}"
    if opens or needed is False:
        text += "; only some operators need it"
    if not driver.is_expected:
        return Finding("cuda library", name, "note", text, facts=facts)
    level: Level = "note" if opens or needed is False else "warning"
    return Finding("cuda library", name, level, text, INSTALL, facts)


def _is_absent(name: str, error: str) -> bool:
    """True when it is not there, False when it is there and something else is wrong with it."""
    # Linux names the file that it does not find, which may be another one that this one needs.
    return f"{name}: cannot open shared object file" in error or "Could not find module" in error

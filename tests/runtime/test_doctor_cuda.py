from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphopt.report.findings import Finding
from graphopt.runtime import doctor_cuda
from graphopt.runtime.child import Answer
from graphopt.runtime.doctor_cuda import (
    CUDA,
    Driver,
    driver_findings,
    library_findings,
    read_driver,
)
from graphopt.runtime.doctor_probe import runtime_libraries
from tests.runtime.test_doctor_libraries import elf

NONE = Driver("libcuda.so.1", missing="no such file")
NO_GPU = Driver("libcuda.so.1", code=100, version=(13, 0))
GPU = Driver("libcuda.so.1", code=0, version=(13, 0), devices=("NVIDIA A", "NVIDIA B"))
BROKEN = Driver("libcuda.so.1", code=803)
SILENT = Driver("NVIDIA driver")

ABSENT = "{}: cannot open shared object file: No such file or directory"


@pytest.mark.parametrize(
    ("driver", "providers", "built", "level", "words"),
    [
        (NONE, [CUDA], "13.0", "note", ["no NVIDIA driver"]),
        (NO_GPU, [CUDA], "13.0", "note", ["without a GPU"]),
        (GPU, [CUDA], "13.0", "ok", ["NVIDIA A, NVIDIA B", "CUDA 13.0"]),
        (GPU, [CUDA], "12.8", "ok", ["NVIDIA A"]),
        (GPU, [CUDA], "", "ok", ["NVIDIA A"]),
        (GPU, [CUDA], "14.1", "warning", ["CUDA 13.0", "needs CUDA 14"]),
        (GPU, ["CPUExecutionProvider"], "", "note", ["NVIDIA A", f"no {CUDA}"]),
        (BROKEN, [CUDA], "13.0", "warning", ["CUDA error 803"]),
        (SILENT, [CUDA], "13.0", "warning", ["does not answer"]),
    ],
)
def test_driver(
    driver: Driver, providers: list[str], built: str, level: str, words: list[str]
) -> None:
    (found,) = driver_findings(driver, providers, built)
    assert found.level == level
    assert all(word in found.text for word in words)
    assert bool(found.hint) is (level == "warning" or "no CUDA" in found.text)


def test_a_gpu_is_expected_unless_the_driver_says_there_is_none() -> None:
    drivers = {d: d.is_expected for d in (Driver(), NONE, NO_GPU, GPU, BROKEN, SILENT)}
    assert [d for d, expected in drivers.items() if expected] == [GPU, BROKEN, SILENT]


def test_systems_without_nvidia_drivers_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert driver_findings(read_driver(), [], "") == []


def test_driver_that_crashes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(doctor_cuda, "ask", lambda function: Answer(None, "died", ""))
    assert read_driver().is_expected


def test_driver_of_this_machine_can_be_asked() -> None:
    driver = read_driver()
    assert bool(driver.library) is (sys.platform in ("linux", "win32"))
    assert not (driver.missing and driver.devices)


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A package whose CUDA provider is linked to two CUDA libraries."""
    (tmp_path / "capi").mkdir()
    linked = ["libcublas.so.13", "libcudart.so.13", "libcuda.so.1", "libc.so.6"]
    (tmp_path / "capi" / "libonnxruntime_providers_cuda.so").write_bytes(elf(linked))
    return tmp_path


Replies = Callable[..., Any]


@pytest.fixture
def only_cudart(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime looks for cuDNN too; of all libraries, only the CUDA runtime is there."""

    def ask(function: Replies, *arguments: Any) -> Answer:
        if function is runtime_libraries:
            return Answer(["libcudart.so.13", "libcudnn.so.9"], "", "")
        found = {name: {"path": "", "error": ABSENT.format(name)} for name in arguments[0]}
        found["libcudart.so.13"] = {"path": "/cuda/libcudart.so.13", "error": ""}
        return Answer(found, "", "")

    monkeypatch.setattr(doctor_cuda, "ask", ask)


def by_name(findings: list[Finding]) -> dict[str, tuple[str, str]]:
    return {found.subject: (found.level, found.text) for found in findings}


@pytest.mark.usefixtures("only_cudart")
def test_libraries_on_a_machine_without_a_gpu(runtime: Path) -> None:
    found = library_findings(runtime, NONE, opens=False)
    assert by_name(found) == {
        "libcublas.so.13": ("note", "missing"),
        "libcudart.so.13": ("ok", "/cuda/libcudart.so.13"),
        "libcudnn.so.9": ("note", "missing; only some operators need it"),
    }
    assert not any(f.hint for f in found)
    assert [f.facts["needed"] for f in found] == [True, True, False]
    assert [f.facts["found"] for f in found] == [False, True, False]


@pytest.mark.usefixtures("only_cudart")
def test_libraries_on_a_machine_with_a_gpu(runtime: Path) -> None:
    found = library_findings(runtime, GPU, opens=False)
    levels = {name: level for name, (level, _) in by_name(found).items()}
    assert levels == {
        "libcublas.so.13": "warning",
        "libcudart.so.13": "ok",
        "libcudnn.so.9": "note",
    }
    assert found[0].hint == found[2].hint == doctor_cuda.INSTALL
    opened = library_findings(runtime, GPU, opens=True)
    assert {f.level for f in opened} == {"note", "ok"}


@pytest.mark.usefixtures("only_cudart")
def test_what_is_needed_is_unknown_without_an_elf_file(tmp_path: Path) -> None:
    found = library_findings(tmp_path, GPU, opens=False)
    assert by_name(found)["libcudnn.so.9"] == ("warning", "missing")
    assert [f.facts["needed"] for f in found] == [None, None]


def test_library_that_is_there_and_does_not_load(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ABSENT.format("libcublasLt.so.13")

    def ask(function: Replies, *arguments: Any) -> Answer:
        if function is runtime_libraries:
            return Answer(None, "ImportError", "")
        return Answer({name: {"path": "", "error": error} for name in arguments[0]}, "", "")

    monkeypatch.setattr(doctor_cuda, "ask", ask)
    found = library_findings(runtime, GPU, opens=False)
    assert by_name(found)["libcublas.so.13"] == ("warning", f"does not load: {error}")


def test_crash_while_they_are_loaded(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_cuda, "ask", lambda *a: Answer(None, "died (SIGSEGV)", ""))
    (found,) = library_findings(runtime, GPU, opens=False)
    assert (found.level, found.subject) == ("warning", "libcublas.so.13, libcudart.so.13")
    assert "died (SIGSEGV)" in found.text


def test_nothing_to_look_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_cuda, "ask", lambda *a: Answer([], "", ""))
    assert library_findings(tmp_path, GPU, opens=False) == []

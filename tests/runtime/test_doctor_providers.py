from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from graphopt.report.findings import Finding
from graphopt.runtime.child import Answer
from graphopt.runtime.doctor_cuda import CUDA, INSTALL, Driver
from graphopt.runtime.doctor_distributions import Installed, installed_runtimes
from graphopt.runtime.doctor_providers import (
    CPU,
    opens,
    provider_findings,
    read_runtime,
    reason,
)

GPU = Driver("libcuda.so.1", code=0, version=(13, 0), devices=("NVIDIA A",))
NO_GPU = Driver("libcuda.so.1", missing="no such file")

FAKE = '''
"""An onnxruntime whose execution providers do what their names say."""

import os
import sys

import numpy as np

__version__ = "9.9"
PROVIDERS = ["Silent", "Wrong", "Crash", "Raise", "Lazy", "Good", "CUDA", "Tensorrt", "CPU"]


def get_available_providers():
    return [name + "ExecutionProvider" for name in PROVIDERS]


class SessionOptions:
    config = {}

    def add_session_config_entry(self, key, value):
        self.config = {**self.config, key: value}


class InferenceSession:
    def __init__(self, model, options=None, providers=()):
        self.name = providers[0].removesuffix("ExecutionProvider")
        alone = options is not None and options.config["session.disable_cpu_ep_fallback"] == "1"
        if self.name == "Crash":
            os.abort()
        if self.name == "Raise" or (self.name == "Lazy" and alone):
            raise RuntimeError("it is raining")
        if self.name == "CUDA":
            sys.stderr.write("\\x1b[1;31mFailed: with error: libx.so: not there\\x1b[m\\n")

    def get_providers(self):
        absent = self.name in ("Silent", "CUDA", "Tensorrt")
        return ([] if absent else [self.name + "ExecutionProvider"]) + ["CPUExecutionProvider"]

    def run(self, outputs, feeds):
        from graphopt.runtime.doctor_probe import Y
        return [Y + (self.name == "Wrong")]
'''

Fake = Callable[[str], Path]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a package onnxruntime with this source first on sys.path, for child processes."""

    def write(source: str) -> Path:
        folder = tmp_path / "site" / "onnxruntime"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(source)
        monkeypatch.syspath_prepend(str(folder.parent))
        return folder

    return write


def judged(driver: Driver) -> dict[str, Finding]:
    names = ["Silent", "Wrong", "Crash", "Raise", "Lazy", "Good", "CUDA", "Tensorrt"]
    found = provider_findings([f"{name}ExecutionProvider" for name in names], driver)
    return {f.subject.removesuffix("ExecutionProvider"): f for f in found}


def test_each_provider_is_tried(fake: Fake) -> None:
    fake(FAKE)
    found = judged(GPU)
    levels = {name: f.level for name, f in found.items()}
    assert levels == {
        "Silent": "warning", "Wrong": "problem", "Crash": "warning", "Raise": "warning",
        "Lazy": "note", "Good": "ok", "CUDA": "warning", "Tensorrt": "note", "CPU": "ok",
    }  # fmt: skip
    assert found["Silent"].text.endswith("ONNX Runtime runs it on the CPU instead")
    assert "the process died" in found["Crash"].text or "ended early" in found["Crash"].text
    assert found["Raise"].text.endswith("RuntimeError: it is raining")
    assert found["CUDA"].text.endswith("session: libx.so: not there")
    assert found["CUDA"].hint == INSTALL
    assert [name for name, f in found.items() if f.facts["opened"]] == [
        "Wrong", "Lazy", "Good", "CPU"
    ]  # fmt: skip
    assert opens(list(found.values()), "GoodExecutionProvider")
    assert not opens(list(found.values()), CUDA)
    assert not opens([], CUDA)


def test_cuda_without_a_driver_is_a_note(fake: Fake) -> None:
    fake(FAKE)
    (cuda, _) = provider_findings([CUDA], NO_GPU)
    assert (cuda.level, cuda.hint) == ("note", "")


def test_cpu_that_does_not_open_is_a_problem(fake: Fake) -> None:
    fake(FAKE.replace('if self.name == "Crash"', 'if self.name == "CPU"'))
    (cpu,) = provider_findings([], NO_GPU)
    assert (cpu.subject, cpu.level) == (CPU, "problem")
    assert cpu.hint


def test_real_runtime_runs_on_the_cpu() -> None:
    runtime, found = read_runtime(installed_runtimes())
    assert found.level == "ok"
    assert CPU in runtime.providers
    (cpu,) = provider_findings([CPU], NO_GPU)
    assert cpu.level == "ok"


def test_runtime_that_no_distribution_installed_is_a_warning(fake: Fake) -> None:
    folder = fake(FAKE)
    runtime, found = read_runtime(installed_runtimes())
    assert (runtime.folder, found.level) == (folder.resolve(), "warning")
    assert str(folder) in found.text
    assert len(runtime.providers) == 9
    alone = Installed("onnxruntime", "9.9", folder.parent.resolve(), ())
    assert read_runtime([alone])[1].level == "ok"
    assert read_runtime([])[1].level == "ok"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise ModuleNotFoundError(\"No module named 'onnxruntime'\")", "not installed"),
        ("raise ImportError('DLL load failed')", "ImportError: DLL load failed"),
        ("import os; os.abort()", "cannot be imported: the process"),
        ("import sys; sys.exit(1)", "SystemExit: 1"),
        ("x = 1", "has no attribute '__version__'"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_broken_runtime_is_a_problem(fake: Fake, source: str, words: str) -> None:
    fake(source)
    runtime, found = read_runtime([])
    assert runtime.folder is None
    assert found.level == "problem"
    assert words in found.text
    assert found.hint.startswith("pip install onnxruntime")
    several = [Installed(name, "1", Path("/x"), ()) for name in ("onnxruntime", "onnxruntime-gpu")]
    assert read_runtime(several)[1].hint == "", "the finding about distributions has the way out"
    assert "--force-reinstall" in read_runtime(several[1:])[1].hint


def test_folder_left_behind_is_a_problem(fake: Fake) -> None:
    # onnxruntime's real distributions come later on sys.path and would be found in its place.
    folder = fake("")
    (folder / "__init__.py").write_text("del __file__; __path__ = [__spec__.name]\n")
    found = read_runtime([])[1]
    assert found.level == "problem"
    assert found.text.startswith("not installed; a folder is left at ")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(None, "ImportError: x", "with error: y"), "ImportError: x"),
        (Answer({}, "", "\x1b[1mFailed: with error: libx: no such file\x1b[m"),
         "libx: no such file"),
        (Answer({}, "", "***\nEP Error no TensorRT when\n***"), "no TensorRT when"),
        (Answer({}, "", "W: Failed to create X. Require Y."), "Failed to create X. Require Y."),
        (Answer({}, "", ""), "ONNX Runtime runs it on the CPU instead"),
        (Answer({}, "", f"with error: {'x' * 500}"), "x" * 200),
    ],
)  # fmt: skip
def test_reason_is_taken_from_what_was_logged(answer: Answer, expected: str) -> None:
    assert reason(answer) == expected

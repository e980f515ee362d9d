from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from graphopt.errors import ExitCode, ProviderUnavailable, UsageError
from graphopt.runtime import availability
from graphopt.runtime.availability import check_available
from graphopt.runtime.doctor_cuda import Driver
from graphopt.runtime.settings import CPU, CUDA, Provider, parse_provider

GPU = Driver("libcuda.so.1", code=0, version=(13, 0), devices=("NVIDIA A",))
NO_GPU = Driver("libcuda.so.1", code=100)
NO_DRIVER = Driver("libcuda.so.1", missing="no such file")

FAKE = '''
"""An onnxruntime whose execution providers do what their names say."""

import os
import sys

import numpy as np

__version__ = "9.9"
HERE = ["CUDA", "Tensorrt", "Silent", "Crash", "Raise", "Picky", "Good", "CPU"]


def get_available_providers():
    return [name + "ExecutionProvider" for name in HERE]


def get_all_providers():
    names = [*HERE, "OpenVINO", "Elsewhere"]
    return [name + "ExecutionProvider" for name in names]


class InferenceSession:
    def __init__(self, model, options=None, providers=()):
        name, given = providers[0]
        self.name = name.removesuffix("ExecutionProvider")
        if self.name == "Crash":
            os.abort()
        if self.name == "Raise":
            raise RuntimeError("it is raining")
        if self.name == "Picky" and given:
            print("*************** EP Error ***************")
            print("EP Error it takes no options when using [...]")
            self.name = ""
        if self.name in ("CUDA", "Tensorrt"):
            missing = "libcublasLt.so.13: cannot open shared object file: No such file"
            sys.stderr.write(f"Failed to load library with error: {missing}\\n")

    def get_providers(self):
        absent = self.name in ("Silent", "CUDA", "Tensorrt", "")
        return ([] if absent else [self.name + "ExecutionProvider"]) + ["CPUExecutionProvider"]

    def run(self, outputs, feeds):
        assert list(feeds) == ["x"]
        return []
'''

Fake = Callable[[str], None]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a package onnxruntime with this source first on sys.path, for child processes."""

    def write(source: str) -> None:
        folder = tmp_path / "site" / "onnxruntime"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(source)
        monkeypatch.syspath_prepend(str(folder.parent))

    return write


def refusal(name: str, **options: str) -> ProviderUnavailable:
    with pytest.raises(ProviderUnavailable) as caught:
        check_available(Provider(name, options))
    assert caught.value.exit_code == ExitCode.NO_PROVIDER
    assert "\n" not in str(caught.value)
    return caught.value


def test_cpu_is_not_asked(fake: Fake) -> None:
    fake("raise ImportError('nothing works')")
    check_available(Provider(CPU))


def test_provider_that_opens_is_available(fake: Fake) -> None:
    fake(FAKE)
    check_available(Provider("GoodExecutionProvider", {"key": "value"}))
    check_available(Provider("PickyExecutionProvider"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Silent", "ONNX Runtime runs it on the CPU instead"),
        ("Raise", "RuntimeError: it is raining"),
        ("Crash", "the process"),
    ],
)
def test_provider_that_does_not_open_is_refused_with_the_reason(
    fake: Fake, name: str, words: str
) -> None:
    fake(FAKE)
    error = refusal(f"{name}ExecutionProvider")
    assert str(error).startswith(f"{name}ExecutionProvider opens no session: ")
    assert words in str(error)
    assert error.hint is not None
    assert "graphopt doctor" in error.hint


@pytest.mark.parametrize(
    ("driver", "ending"),
    [
        (GPU, "is missing"),
        (NO_GPU, "is missing; there is no NVIDIA GPU"),
        (NO_DRIVER, "is missing; there is no NVIDIA driver"),
    ],
)
def test_cuda_names_the_missing_library_and_the_remedy(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, driver: Driver, ending: str
) -> None:
    fake(FAKE)
    monkeypatch.setattr(availability, "read_driver", lambda: driver)
    error = refusal(CUDA)
    assert str(error) == f"{CUDA} opens no session: libcublasLt.so.13 {ending}"
    assert error.hint is not None
    assert error.hint.startswith("pip install 'graphopt[cuda]'")
    assert error.hint.endswith("with an NVIDIA GPU and its driver") is (driver is not GPU)
    tensorrt = refusal(parse_provider("tensorrt").name)
    assert tensorrt.hint is not None
    assert tensorrt.hint.startswith("install TensorRT")


def test_options_that_are_refused_are_named(fake: Fake) -> None:
    fake(FAKE)
    error = refusal("PickyExecutionProvider", colour="blue", size="1")
    assert str(error).startswith(
        "PickyExecutionProvider opens no session with colour=blue,size=1: it takes no options"
    )
    assert error.hint == "without these options it does"


def test_provider_of_another_build_names_it(fake: Fake) -> None:
    fake(FAKE)
    error = refusal(parse_provider("openvino").name)
    assert str(error) == "OpenVINOExecutionProvider is not in the onnxruntime 9.9 installed here"
    assert error.hint is not None
    assert error.hint.startswith("pip install onnxruntime-openvino in an environment of its own")
    other = refusal("ElsewhereExecutionProvider")
    assert other.hint is not None
    assert "pip" not in other.hint
    assert "cuda, tensorrt, SilentExecutionProvider" in other.hint


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("opnvino", "openvino"),
        ("cudaexecutionprovider", "CUDAExecutionProvider"),
        ("GodExecutionProvider", "GoodExecutionProvider"),
        ("zzz", None),
    ],
)
def test_name_that_is_none_is_a_usage_error(fake: Fake, name: str, close: str | None) -> None:
    fake(FAKE)
    with pytest.raises(UsageError, match=f"no execution provider '{name}'") as caught:
        check_available(Provider(name))
    hint = caught.value.hint
    assert hint is not None
    assert hint.startswith(f"did you mean {close}? " if close else "here are ")
    assert "here are cuda, tensorrt, SilentExecutionProvider" in hint


def test_runtime_that_cannot_be_imported_is_told(fake: Fake) -> None:
    fake("raise ImportError('DLL load failed')")
    error = refusal(CUDA)
    assert "cannot be imported: ImportError: DLL load failed" in str(error)


def test_real_runtime_lists_the_cpu_and_knows_openvino() -> None:
    found = availability.list_providers()
    assert CPU in found["here"]
    assert {CPU, CUDA, parse_provider("openvino").name} <= set(found["all"])
    assert availability.opens(CPU, {})


def test_real_cuda_opens_or_names_what_it_takes() -> None:
    try:
        check_available(parse_provider("cuda"))
    except ProviderUnavailable as error:
        assert error.exit_code == ExitCode.NO_PROVIDER
        assert str(error).startswith(CUDA)
        assert error.hint is not None
        assert "pip install" in error.hint

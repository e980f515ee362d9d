from __future__ import annotations

import ctypes
import ctypes.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest

from graphopt.runtime.child import ask
from graphopt.runtime.doctor_probe import (
    X,
    Y,
    can_map,
    describe_runtime,
    find_driver,
    import_modules,
    load_libraries,
    memory_limit,
    open_session,
    runtime_libraries,
    tiny_model,
)


def test_tiny_model_has_the_stated_answer() -> None:
    model = onnx.load_from_string(tiny_model())
    onnx.checker.check_model(model, full_check=True)
    (found,) = onnx.reference.ReferenceEvaluator(model).run(None, {"x": X})
    assert np.array_equal(found, Y)
    assert np.any(Y == 0), "Relu has something to do"
    # Exact in half precision too, and in the ten bits of mantissa of TF32.
    assert np.array_equal(Y.astype(np.float16), Y)


def test_cpu_runs_it() -> None:
    answer = ask(open_session, "CPUExecutionProvider")
    assert answer.value == {"opened": True, "right": True, "used": True}


def test_provider_that_is_not_built_in_does_not_open() -> None:
    answer = ask(open_session, "NoSuchExecutionProvider")
    assert answer.failure or not answer.value["opened"]


def test_runtime_describes_itself() -> None:
    found = ask(describe_runtime).value
    assert found["version"] == onnxruntime.__version__
    assert found["providers"] == onnxruntime.get_available_providers()
    assert Path(found["file"]) == Path(onnxruntime.__file__)


def test_modules_are_imported_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaves_at_once.py").write_text("import sys; sys.exit('no licence')")
    monkeypatch.syspath_prepend(str(tmp_path))
    answer = ask(import_modules, ["json", "no_such_module", "leaves_at_once"])
    assert answer.value == {
        "json": "",
        "no_such_module": "ModuleNotFoundError: No module named 'no_such_module'",
        "leaves_at_once": "SystemExit: no licence",
    }


def test_libraries_by_name() -> None:
    there = ctypes.util.find_library("c") or "msvcrt.dll"
    found = ask(load_libraries, [there, "libnosuch.so.7"]).value
    assert found[there]["error"] == ""
    if sys.platform in ("linux", "win32"):
        assert Path(found[there]["path"]).is_file()
    assert found["libnosuch.so.7"]["path"] == ""
    assert "libnosuch.so.7" in found["libnosuch.so.7"]["error"]


def test_libraries_that_onnxruntime_looks_for_are_names() -> None:
    names = ask(runtime_libraries).value
    assert all(".so." in name or name.endswith(".dll") for name in names)
    assert not any("/" in name or "\\" in name for name in names)
    built_for_cuda = bool(getattr(onnxruntime, "cuda_version", ""))
    assert any("cudart" in name for name in names) is built_for_cuda


def test_memory_limit_holds_where_there_is_one() -> None:
    found = ask(memory_limit).value
    if sys.platform == "linux":
        assert found["holds"]
        assert found["bytes"] >= 4 << 30
        # Nothing but the limit refuses it: this process has none.
        assert can_map(found["bytes"] + (1 << 20))
    else:
        assert found["holds"] in (True, False)


class FakeCuda:
    """As much of the driver's interface as is asked."""

    def __init__(self, code: int = 0, devices: int = 2) -> None:
        self.code, self.devices = code, devices

    def cuInit(self, flags: int) -> int:
        return self.code

    def cuDriverGetVersion(self, number: Any) -> int:
        number._obj.value = 12040
        return 0

    def cuDeviceGetCount(self, number: Any) -> int:
        number._obj.value = self.devices
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:
        device._obj.value = index
        return 0

    def cuDeviceGetName(self, text: Any, size: int, device: Any) -> int:
        if device.value == 1:
            return 101
        text.value = b"NVIDIA Test"
        return 0


def driver(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> dict[str, Any]:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: fake)
    return find_driver()


def test_driver_tells_version_and_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    found = driver(monkeypatch, FakeCuda())
    assert (found["missing"], found["code"], found["version"]) == (None, 0, [12, 4])
    assert found["devices"] == ["NVIDIA Test", "device 1"]


def test_driver_without_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    found = driver(monkeypatch, FakeCuda(code=100))
    assert (found["code"], found["version"], found["devices"]) == (100, [12, 4], [])


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    found = find_driver()
    assert found["library"] in found["missing"]
    assert (found["code"], found["devices"]) == (None, [])

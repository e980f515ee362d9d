from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from graphopt.benching.nvidia import memory_reader, read_devices
from graphopt.report.bench import Device

GIB = 1 << 30


class FakeError(Exception):
    """What the library raises for everything."""


class Library:
    """The part of pynvml that is asked: two devices, the second of which tells little.

    Its functions and constants have pynvml's names.
    """

    NVMLError = FakeError
    NVML_CLOCK_SM = 1

    def __init__(self) -> None:
        self.used = 0

    def nvmlInit(self) -> None:
        pass

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.1"

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        if index > 1:
            raise FakeError("no such device")
        return f"GPU-{index}"

    def nvmlDeviceGetHandleByUUID(self, name: str) -> str:
        if name not in ("GPU-0", "GPU-1"):
            raise FakeError("no such device")
        return name

    def nvmlDeviceGetName(self, handle: str) -> str | bytes:
        return "NVIDIA One" if handle == "GPU-0" else b"NVIDIA Two"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:
        if handle == "GPU-1":
            raise FakeError("not supported")
        self.used += GIB
        return SimpleNamespace(total=24 * GIB, used=self.used)

    def nvmlDeviceGetClockInfo(self, handle: str, clock: int) -> int:
        if handle == "GPU-1":
            raise FakeError("not supported")
        return 1410 if clock == self.NVML_CLOCK_SM else 0

    def nvmlDeviceGetMaxClockInfo(self, handle: str, clock: int) -> int:
        return 1980 if clock == self.NVML_CLOCK_SM else 0


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    fake = Library()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


def test_devices_as_far_as_the_driver_tells(library: Library) -> None:
    assert read_devices() == [
        Device("NVIDIA One", "580.1", 24 * GIB, 1410, 1980),
        Device("NVIDIA Two", "580.1", None, None, 1980),
    ]


def test_memory_in_use_is_read_anew_each_time(library: Library) -> None:
    read = memory_reader(0)
    assert read is not None
    assert [read(), read()] == [GIB, 2 * GIB]
    silent = memory_reader(1)
    assert silent is not None
    assert silent() is None


@pytest.mark.parametrize(
    ("visible", "device_id", "tells"),
    [("1,0", 0, False), ("1,0", 1, True), ("GPU-1, GPU-0", 1, True), ("1", 0, False)],
)
def test_numbers_are_those_of_the_visible_devices(
    library: Library, monkeypatch: pytest.MonkeyPatch, visible: str, device_id: int, tells: bool
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    read = memory_reader(device_id)
    assert read is not None
    assert (read() is not None) == tells


@pytest.mark.parametrize(
    ("visible", "device_id"), [(None, 2), ("1", 1), ("", 0), ("-1", 0), ("GPU-7", 0)]
)
def test_device_that_is_not_there(
    library: Library, monkeypatch: pytest.MonkeyPatch, visible: str | None, device_id: int
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert memory_reader(device_id) is None


def test_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert read_devices() == []
    assert memory_reader(0) is None


def test_no_driver(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise FakeError("NVML Shared Library Not Found")

    monkeypatch.setattr(library, "nvmlInit", refuse)
    assert read_devices() == []
    assert memory_reader(0) is None


def test_driver_that_stops_answering(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise FakeError("driver is unloaded")

    monkeypatch.setattr(library, "nvmlDeviceGetCount", refuse)
    assert read_devices() == []

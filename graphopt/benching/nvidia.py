"""NVIDIA's devices, as the management library of the driver describes them.

It comes with nvidia-ml-py, which the extra `cuda` installs. Without it, without a driver, or where
a driver does not tell, nothing is known.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from graphopt.report.bench import Device


def read_devices() -> list[Device]:
    """Every device, with the clock that it has now; empty when none can be seen."""
    nvml = _library()
    if nvml is None:
        return []
    try:
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        return [_device(nvml, handle, driver) for handle in handles]
    except nvml.NVMLError:
        return []


def memory_reader(device_id: int) -> Callable[[], int | None] | None:
    """What reads the bytes in use on a device, by all processes together.

    Args:
        device_id: Its number as CUDA counts: only what CUDA_VISIBLE_DEVICES leaves, in that order.

    Returns:
        A function, whose answer is None when the driver does not tell; None without the device.
    """
    nvml = _library()
    if nvml is None:
        return None
    try:
        handle = _handle(nvml, device_id)
    except (nvml.NVMLError, LookupError):
        return None
    return lambda: _memory(nvml, handle, "used")


def _library() -> Any:
    """The module pynvml, ready for questions; None when there is nothing to ask."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _device(nvml: Any, handle: Any, driver: str) -> Device:
    clock, highest = (
        _number(nvml, ask, handle, nvml.NVML_CLOCK_SM)
        for ask in (nvml.nvmlDeviceGetClockInfo, nvml.nvmlDeviceGetMaxClockInfo)
    )
    name = _text(nvml.nvmlDeviceGetName(handle))
    return Device(name, driver, _memory(nvml, handle, "total"), clock, highest)


def _handle(nvml: Any, device_id: int) -> Any:
    """The device that CUDA calls `device_id`.

    Raises:
        LookupError: CUDA_VISIBLE_DEVICES leaves no such device.
    """
    name = str(device_id)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        name = visible.split(",")[device_id].strip()
    if name.isdecimal():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name)


def _memory(nvml: Any, handle: Any, field: str) -> int | None:
    with contextlib.suppress(nvml.NVMLError):  # chips that share the system's memory have no answer
        return int(getattr(nvml.nvmlDeviceGetMemoryInfo(handle), field))
    return None


def _number(nvml: Any, ask: Callable[..., int], *arguments: Any) -> int | None:
    with contextlib.suppress(nvml.NVMLError):
        return int(ask(*arguments))
    return None


def _text(value: str | bytes) -> str:
    """Old versions of nvidia-ml-py give bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

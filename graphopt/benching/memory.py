"""The memory that a model takes: resident, in ONNX Runtime's arena, and on the device."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from graphopt.benching.fresh import Job, ask_fresh
from graphopt.benching.nvidia import memory_reader
from graphopt.benching.profile import Event, profiled
from graphopt.contract import Array
from graphopt.report.bench import Memory
from graphopt.runtime.settings import ALIASES, CUDA, SessionSettings

_ON_NVIDIA = (CUDA, ALIASES["tensorrt"], "NvTensorRTRTXExecutionProvider")


def measure_memory(
    path: Path, settings: SessionSettings, feeds: Mapping[str, Array], runs: int = 5
) -> Memory:
    """Load and run a model in a fresh process that does nothing else, and watch its size.

    Device memory is read after loading and after each run, of the whole device: what others do
    there meanwhile counts. NVIDIA's management library (nvidia-ml-py) tells it.

    Args:
        path: The .onnx file.
        settings: How to make its session.
        feeds: Input arrays by name; they are there before, and do not count.
        runs: How often it is run.

    Raises:
        RuntimeFailure: The model does not load or run, crashed the process, or took too long.
        ProviderUnavailable: The execution provider is not to be had here.
    """
    return Memory(**ask_fresh(watch_once, path, settings, feeds, runs))


def watch_once(job: Job) -> dict[str, int | None]:
    """In the child: the fields of Memory."""
    import onnxruntime  # noqa: F401  # its code is no part of what the model takes

    provider = job.settings.provider
    device_id = int(provider.options.get("device_id", "0"))
    used = memory_reader(device_id) if provider.name in _ON_NVIDIA else None
    device = [] if used is None else [used()]
    before = _restart_peak()
    session = job.open()
    load_peak = peak_bytes()
    device += [] if used is None else [used()]
    for _ in range(job.runs):
        job.run(session)
        device += [] if used is None else [used()]
    run_peak = peak_bytes()
    del session
    # Its figures come with a profile, which takes memory itself: so from another session.
    arena = arena_bytes(profiled(job, job.runs), provider.name)
    return {
        "load_peak_bytes": _above(load_peak, before),
        "run_peak_bytes": _above(run_peak, before),
        "arena_bytes": arena,
        "device_peak_bytes": _rise(device),
    }


def arena_bytes(events: Sequence[Event], provider: str) -> int | None:
    """Bytes that the arena held last, by a profile's events.

    Args:
        events: The events, in any order.
        provider: The execution provider whose arena it is.

    Returns:
        None when no node ran there, when the session has no arena, or when this ONNX Runtime does
        not tell.
    """
    told = [
        (event["ts"] + event["dur"], int(event["args"]["mem_arena_held"]))
        for event in events
        if event.get("cat") == "Node"
        and event["args"].get("provider") == provider
        and event["args"].get("mem_arena_held") is not None
    ]
    return max(told)[1] or None if told else None


def peak_bytes() -> int | None:
    """The highest resident size of this process so far, or since it was last reset on Linux."""
    told = _status("VmHWM")
    if told is not None:
        return told
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _restart_peak() -> int | None:
    """Let the peak count from now on, where that can be.

    Returns:
        The size that later peaks are above; the peak so far where it cannot be reset.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return peak_bytes()
    return _status("VmRSS")


def _status(key: str) -> int | None:
    """A size of this process in bytes; None where there is no Linux to tell."""
    try:
        text = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return None


def _above(peak: int | None, before: int | None) -> int | None:
    return None if peak is None or before is None else max(0, peak - before)


def _rise(used: Sequence[int | None]) -> int | None:
    known = [value for value in used if value is not None]
    return max(known) - known[0] if known and len(known) == len(used) else None

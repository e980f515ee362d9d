"""Where a benchmark ran: what a reader needs to judge its figures."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from graphopt.benching.nvidia import read_devices
from graphopt.report.bench import Environment
from graphopt.runtime.doctor_distributions import installed_runtimes

_PROC_CPUINFO = Path("/proc/cpuinfo")
_NAME_KEYS = ("model name", "cpu model", "uarch", "Hardware")
"""Where /proc/cpuinfo has a CPU's name: x86, MIPS, RISC-V, older ARM."""


def describe_environment() -> Environment:
    """Look at this machine as it is now; nothing of it can fail."""
    return Environment(
        system=f"{platform.system()} {platform.release()}".strip(),
        processor=processor_name(),
        cores=usable_cores(),
        memory_bytes=_physical_memory(),
        load=_load(),
        versions=_versions(),
        devices=read_devices(),
    )


def processor_name(cpuinfo: Path = _PROC_CPUINFO) -> str:
    """The CPU's name as its maker gives it, or the architecture where nothing tells more.

    Args:
        cpuinfo: The file of Linux that tells.
    """
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    told: dict[str, str] = {}  # the last CPU's word counts
    for line in text.splitlines():
        key, _, value = line.partition(":")
        told[key.strip()] = value.strip()
    named = [told[key] for key in _NAME_KEYS if told.get(key)]
    found = named[0] if named else _brand() or platform.processor() or platform.machine()
    return " ".join(found.split()) or "unknown"


def usable_cores(root: Path = Path("/")) -> int:
    """CPUs that this process may use: by its affinity, and by the limit of its cgroup.

    Args:
        root: Where proc and sys lie.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # neither on Windows nor on macOS
        cores = os.cpu_count() or 1
    limits = [math.ceil(limit) for limit in _quotas(root)]
    return max(1, min([cores, *limits]))


def _quotas(root: Path) -> list[float]:
    """How many CPUs' worth of time the cgroup and those around it may have, where limited."""
    folder = root / "sys/fs/cgroup"
    found = []
    for place in _places(root):
        for above in (place, *place.parents):
            found.append(_quota(folder / above / "cpu.max"))
            found.append(_quota(folder / "cpu" / above / "cpu.cfs_quota_us", "cpu.cfs_period_us"))
    return [limit for limit in found if limit is not None]


def _places(root: Path) -> list[Path]:
    """Paths of the process's cgroups below where they are mounted, and that place itself."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    fields = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    wanted = [path for _, names, path in fields if not names or "cpu" in names.split(",")]
    return [Path(), *(Path(path.lstrip("/")) for path in wanted)]


def _quota(file: Path, period: str | None = None) -> float | None:
    """Quota over period: both in one file (cgroups, version 2), or in two (version 1)."""
    try:
        words = file.read_text(encoding="ascii").split()
        if period is not None:
            words += (file.parent / period).read_text(encoding="ascii").split()
        quota, length = (float(word) for word in words)  # not a number: `max`, no limit
    except (OSError, ValueError):
        return None
    return quota / length if quota > 0 and length > 0 else None


def _brand() -> str:
    """What macOS calls the CPU."""
    if sys.platform != "darwin":
        return ""
    command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace").strip()


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # not on Windows
        return None


def _versions() -> dict[str, str]:
    """Versions by name; the distribution that brings onnxruntime where it has another name."""
    runtimes = [
        one.version if one.name == "onnxruntime" else f"{one.version} ({one.name})"
        for one in installed_runtimes()
    ]
    return {
        "graphopt": _version("graphopt"),
        "onnxruntime": ", ".join(runtimes) or "unknown",
        "numpy": _version("numpy"),
        "python": platform.python_version(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"

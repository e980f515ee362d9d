from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from graphopt.benching import environment
from graphopt.benching.environment import describe_environment, processor_name, usable_cores

X86 = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R)   CPU @ 2.20GHz
flags\t\t: fpu vme

processor\t: 1
model name\t: Intel(R) Xeon(R)   CPU @ 2.20GHz
power management:
"""
ARM = "processor\t: 0\nBogoMIPS\t: 243.75\nCPU implementer\t: 0x41\n"


def place(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may run on eight CPUs."""
    cpus = set(range(8))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: cpus, raising=False)


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    found = describe_environment()
    assert found.system.startswith(platform.system())
    assert found.processor
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert found.memory_bytes is None or found.memory_bytes > 1 << 28
    assert found.load is None or found.load >= 0
    assert list(found.versions) == ["graphopt", "onnxruntime", "numpy", "python"]
    assert found.versions["numpy"] == np.__version__
    assert found.versions["graphopt"] == version("graphopt")
    assert "unknown" not in found.versions.values()
    assert found.devices == []
    assert found.machine == f"{found.processor}, {found.cores} cores"


def test_distribution_that_brings_onnxruntime_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Runtime:
        def __init__(self, name: str) -> None:
            self.name, self.version = name, "1.24.1"

    found: list[Runtime] = []
    monkeypatch.setattr(environment, "installed_runtimes", lambda: found)
    assert describe_environment().versions["onnxruntime"] == "unknown"
    found.append(Runtime("onnxruntime"))
    assert describe_environment().versions["onnxruntime"] == "1.24.1"
    found.append(Runtime("onnxruntime-openvino"))
    both = describe_environment().versions["onnxruntime"]
    assert both == "1.24.1, 1.24.1 (onnxruntime-openvino)"


def test_name_of_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(X86, encoding="ascii")
    assert processor_name(cpuinfo) == "Intel(R) Xeon(R) CPU @ 2.20GHz"
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(environment, "_brand", lambda: "")
    cpuinfo.write_text(ARM, encoding="ascii")
    assert processor_name(cpuinfo) == "aarch64"
    assert processor_name(tmp_path / "none") == "aarch64"
    monkeypatch.setattr(environment, "_brand", lambda: "Apple M9")
    assert processor_name(tmp_path / "none") == "Apple M9"
    monkeypatch.setattr(environment, "_brand", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "")
    assert processor_name(tmp_path / "none") == "unknown"


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("250000 100000", 3),
        ("50000 100000", 1),
        ("1600000 100000", 8),
        ("", 8),
        ("0 0", 8),
    ],
)
def test_limit_of_the_cgroup(eight: None, tmp_path: Path, limit: str, cores: int) -> None:
    place(tmp_path, "proc/self/cgroup", "0::/\n")
    place(tmp_path, "sys/fs/cgroup/cpu.max", f"{limit}\n")
    assert usable_cores(tmp_path) == cores


def test_limit_of_a_cgroup_around_it(eight: None, tmp_path: Path) -> None:
    place(tmp_path, "proc/self/cgroup", "0::/user.slice/mine.scope\n")
    place(tmp_path, "sys/fs/cgroup/user.slice/cpu.max", "300000 100000\n")
    place(tmp_path, "sys/fs/cgroup/user.slice/mine.scope/cpu.max", "max 100000\n")
    assert usable_cores(tmp_path) == 3
    place(tmp_path, "sys/fs/cgroup/user.slice/mine.scope/cpu.max", "100000 100000\n")
    assert usable_cores(tmp_path) == 1


def test_limit_of_a_cgroup_of_version_1(eight: None, tmp_path: Path) -> None:
    place(tmp_path, "proc/self/cgroup", "4:memory:/a\n3:cpu,cpuacct:/box:1\n0::/\n")
    place(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    place(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert usable_cores(tmp_path) == 8
    place(tmp_path, "sys/fs/cgroup/cpu/box:1/cpu.cfs_quota_us", "400000\n")
    place(tmp_path, "sys/fs/cgroup/cpu/box:1/cpu.cfs_period_us", "100000\n")
    assert usable_cores(tmp_path) == 4


def test_no_cgroups(eight: None, tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 8


def test_system_without_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cores(tmp_path) == 6


def test_system_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.delattr(os, "getloadavg")
    found = describe_environment()
    assert (found.memory_bytes, found.load) == (None, None)

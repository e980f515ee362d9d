"""Doctor, in an environment where two builds of ONNX Runtime overwrite each other's files."""

from __future__ import annotations

import json
import platform
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "README.md", "graphopt", "passes")
HAS_BOTH = (sys.platform, platform.machine()) in {("linux", "x86_64"), ("win32", "AMD64")}

pytestmark = [
    pytest.mark.whole,
    pytest.mark.skipif(not HAS_BOTH, reason="onnxruntime-gpu has no wheel for this platform"),
]


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """An environment of its own, of 500 MB, which does not outlive the test."""
    folder = tmp_path / "environment"
    venv.create(folder)
    yield folder
    shutil.rmtree(folder)


def script(environment: Path, name: str) -> Path:
    return environment / ("Scripts" if sys.platform == "win32" else "bin") / name


def pip(environment: Path, *arguments: str) -> None:
    """Runs this interpreter's pip, which need not be in the environment."""
    command = [sys.executable, "-m", "pip", "--python", str(script(environment, "python"))]
    command += arguments
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr


def doctor(environment: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(script(environment, "graphopt")), "doctor", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, cwd=environment
    )


def findings(environment: Path) -> dict[tuple[str, str], dict[str, Any]]:
    listed = json.loads(doctor(environment, "--json").stdout)["findings"]
    return {(found["check"], found["subject"]): found for found in listed}


def test_doctor_names_both_and_its_hint_mends_it(scratch: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"  # a build in the tree would leave files there
    source.mkdir()
    for path in (ROOT / name for name in SOURCES):
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, source / path.name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(path, source)
    pip(scratch, "install", "--quiet", str(source), "onnxruntime")

    done = doctor(scratch)
    assert (done.returncode, done.stderr) == (1, "")
    found = findings(scratch)
    both = found["distributions", "onnxruntime"]
    assert both["level"] == "problem"
    names = [name.partition("==")[0] for name in both["facts"]["installed"]]
    assert names == ["onnxruntime", "onnxruntime-gpu"]
    assert all(name in done.stdout for name in both["facts"]["installed"])
    overwritten = [found["files", name]["level"] for name in names]
    assert "problem" in overwritten, "files of one are no longer its own"

    remove, install = both["hint"].split(" && ")
    assert remove == "pip uninstall -y onnxruntime onnxruntime-gpu"
    # Half of the hint is worse than nothing: what is left lacks most of its files.
    pip(scratch, *shlex.split(remove)[1:-1])
    assert doctor(scratch).returncode == 1
    assert findings(scratch)["files", "onnxruntime-gpu"]["facts"]["missing"] > 0
    pip(scratch, *shlex.split(remove)[1:])
    assert doctor(scratch).returncode == 1
    assert findings(scratch)["distributions", "onnxruntime"]["hint"] == install
    pip(scratch, *shlex.split(install)[1:], "--quiet")
    assert doctor(scratch).returncode == 0

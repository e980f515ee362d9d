"""The wheel: everything is in it, and it works without the source tree."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("pyproject.toml", "README.md", "graphopt", "passes")

# -S keeps the editable installation's .pth files out; the wheel's folder comes first.
OPTIMISE = """
import sys
sys.path[:0] = [{installed!r}]
sys.path.append({site!r})
import graphopt
from graphopt.engine import available
assert graphopt.__file__.startswith({installed!r}), graphopt.__file__
for entry in available().values():
    assert sys.modules.get(entry.load().__module__).__file__.startswith({installed!r})
result = graphopt.optimize({model!r})
graphopt.save(result, "out.onnx")
report = result.report
print(report.status, report.before.nodes, report.after.nodes)
"""


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy, so that no former build's leavings get into it."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    copy.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, copy / name)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, copy,
        cwd=folder)  # fmt: skip
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The wheel, installed into a folder of its own."""
    target = wheel.parent / "installed"
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel,
        cwd=wheel.parent)  # fmt: skip
    return target


def test_every_file_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {
        str(path.relative_to(ROOT))
        for pattern in ("*.py", "*.toml", "*.json", "*.css", "py.typed")
        for path in (ROOT / "graphopt").rglob(pattern)
        if not path.is_relative_to(ROOT / "graphopt" / "passes")
    }
    expected |= {f"graphopt/{p.relative_to(ROOT)}" for p in (ROOT / "passes").rglob("*.py")}
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert {"graphopt/py.typed", "graphopt/recipes/exact.toml"} <= expected


def test_entry_points(installed: Path) -> None:
    (text,) = (p.read_text() for p in installed.glob("graphopt-*.dist-info/entry_points.txt"))
    assert "[console_scripts]\ngraphopt = graphopt.cli:main" in text
    assert "[graphopt.passes]\ngraphopt = graphopt.passes" in text


def test_nothing_else_lands_at_the_top(installed: Path) -> None:
    found = {entry.name for entry in installed.iterdir()} - {"bin", "__pycache__"}
    assert {name for name in found if not name.endswith(".dist-info")} == {"graphopt"}


def test_version_is_stated_once_and_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f'__version__ = "{project["version"]}"' in (ROOT / "graphopt/__init__.py").read_text()


def test_exactly_one_onnxruntime_on_every_platform() -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [r for r in map(Requirement, project["dependencies"]) if "onnxruntime" in r.name]
    for platform in ("linux", "win32", "darwin", "freebsd13"):
        for machine in ("x86_64", "AMD64", "aarch64", "arm64", "ARM64"):
            environment = {"sys_platform": platform, "platform_machine": machine}
            chosen = [r.name for r in wanted if r.marker and r.marker.evaluate(environment)]
            has_gpu_wheel = (platform, machine) in {("linux", "x86_64"), ("win32", "AMD64")}
            assert chosen == ["onnxruntime-gpu" if has_gpu_wheel else "onnxruntime"]


def test_installed_wheel_optimises_a_model_from_another_folder(
    installed: Path, tmp_path: Path
) -> None:
    code = OPTIMISE.format(
        installed=str(installed),
        site=sysconfig.get_path("purelib"),
        model=str(ROOT / "models" / "resnet_20.onnx"),
    )
    out = run(sys.executable, "-I", "-S", "-c", code, cwd=tmp_path)
    status, before, after = out.split()
    assert status == "verified"
    assert int(after) < int(before)
    assert (tmp_path / "out.onnx").stat().st_size > 100_000

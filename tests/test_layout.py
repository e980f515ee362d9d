"""The promises that the layout makes."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphopt.engine.registry import available, class_of

ROOT = Path(__file__).parent.parent
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 50
VAGUE = {"utils", "util", "helpers", "helper", "misc", "common", "tools", "stuff"}
MIRRORED = ("benching", "cli", "engine", "graph", "model", "report", "runtime", "verify")
"""Folders of graphopt whose tests lie in a folder of the same name."""

LINKS = {"graphopt/graph/elements.py", "graphopt/graph/program.py"}
"""Modules that only hold links; every test of graphopt.graph looks at them."""


def sources() -> list[Path]:
    found = [
        path for path in (ROOT / "graphopt").rglob("*.py") if "passes" not in path.parts[-3:-1]
    ]
    own = [path for path in found if not path.is_relative_to(ROOT / "graphopt" / "passes")]
    return sorted([*own, *(ROOT / "passes").rglob("*.py")])


def pass_files() -> list[Path]:
    return [path for path in sources() if path.is_relative_to(ROOT / "passes") and
            not path.name.startswith("_")]  # fmt: skip


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def setuptools_table() -> dict[str, object]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table: dict[str, object] = tomllib.loads(text)["tool"]["setuptools"]
    return table


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function of a file, with its length in lines, decorators left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def test_there_are_sources_to_look_at() -> None:
    assert len(sources()) > 50
    assert {path.name for path in pass_files()} >= {"fold_constants.py", "fuse_conv_batchnorm.py"}


@pytest.mark.parametrize("path", pass_files(), ids=shown)
def test_every_pass_has_its_test_file(path: Path) -> None:
    relative = path.relative_to(ROOT / "passes")
    expected = ROOT / "tests" / "passes" / relative.parent / f"test_{relative.name}"
    assert expected.is_file(), f"write {shown(expected)}"


@pytest.mark.parametrize("path", pass_files(), ids=shown)
def test_every_pass_has_its_page(path: Path) -> None:
    page = ROOT / "docs" / "passes" / f"{path.stem}.md"
    assert page.is_file(), f"run `make docs`, which writes {shown(page)}"


@pytest.mark.parametrize("path", pass_files(), ids=shown)
def test_pass_is_named_verb_object_in_a_category(path: Path) -> None:
    assert "_" in path.stem
    assert path.parent.parent == ROOT / "passes"
    assert (path.parent / "__init__.py").is_file()


def test_every_package_is_in_the_wheel() -> None:
    listed = setuptools_table()["packages"]
    folders = {path.parent for path in sources()}
    names = set()
    for folder in folders:
        parts = folder.relative_to(ROOT).parts
        names.add(".".join(parts if parts[0] == "graphopt" else ("graphopt", *parts)))
        assert (folder / "__init__.py").is_file(), shown(folder)
    assert listed == sorted(names)


def test_passes_are_mapped_and_linked() -> None:
    mapping = {"graphopt": "graphopt", "graphopt.passes": "passes"}
    assert setuptools_table()["package-dir"] == mapping
    link = ROOT / "graphopt" / "passes"
    assert link.is_symlink()
    assert link.readlink() == Path("../passes")


@pytest.mark.parametrize("path", sources(), ids=shown)
def test_file_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("path", sources(), ids=shown)
def test_functions_are_short(path: Path) -> None:
    assert {name: n for name, n in functions(path) if n > MAX_FUNCTION_LINES} == {}


@pytest.mark.parametrize("path", sources(), ids=shown)
def test_file_says_what_it_holds(path: Path) -> None:
    assert path.stem not in VAGUE
    assert path.parent.name not in VAGUE
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_test_files_mirror_the_tree() -> None:
    """A test file is named after a module: test_walk.py or test_walk_*.py for walk.py."""
    odd = []
    for name in MIRRORED:
        modules = {path.stem for path in (ROOT / "graphopt" / name).glob("*.py")}
        for path in (ROOT / "tests" / name).rglob("test_*.py"):
            stem = path.stem.removeprefix("test_")
            if not any(stem == module or stem.startswith(f"{module}_") for module in modules):
                odd.append(shown(path))
    assert odd == []


def test_modules_have_tests() -> None:
    missing = []
    for name in MIRRORED:
        tested = [path.stem.removeprefix("test_") for path in (ROOT / "tests" / name).glob("*.py")]
        for path in sorted((ROOT / "graphopt" / name).glob("[!_]*.py")):
            if not any(t == path.stem or t.startswith(f"{path.stem}_") for t in tested):
                missing.append(shown(path))
    assert set(missing) <= LINKS


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert [shown(f) for f in folders if not (f / "__init__.py").is_file()] == []


def test_every_pass_has_a_type_where_it_is_imported_from() -> None:
    text = (ROOT / "passes" / "__init__.py").read_text(encoding="utf-8")
    for entry in available().values():
        if entry.distribution == "graphopt":
            name = class_of(entry.name)
            assert f"{name} as {name}" in text, f"passes/__init__.py: add {name} for type checkers"

"""The README: its commands run as they are written, and its figures are what comes out.

`.ci/run` runs the two make commands; everything else is run here, in the order it is read.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from graphopt.engine.recipe import load_recipe
from tests.benchmarks.readme_table import measure, table
from tests.docs.documents import ROOT, blocks, commands, prepare, problems

README = ROOT / "README.md"
SHIPPED = ("lenet_5", "resnet_20", "mixnet")
MEASURED = re.compile(
    r"<!-- make bench-readme -->\n(?P<table>(?:\|.*\n)+)<!-- end of make bench-readme -->"
)


def cells(text: str) -> list[list[str]]:
    """A Markdown table's rows, title row first."""
    rows = [line.strip("|").split("|") for line in text.strip().splitlines()]
    return [[cell.strip() for cell in row] for row in rows]


def test_everything_in_it_runs(tmp_path: Path) -> None:
    prepare(tmp_path)
    assert problems(README, tmp_path) == []
    # What the commands promise to write is there.
    assert (tmp_path / "smaller.onnx").is_file()
    assert load_recipe(tmp_path / "mine.toml").digest == load_recipe("exact").digest


def test_it_shows_every_command() -> None:
    """The tour leaves out no sub-command, so that none goes untried."""
    from graphopt.cli import _COMMANDS

    used = {c.text.split()[1] for block in blocks(README) for c in commands(block)}
    assert used == set(_COMMANDS)


def test_the_table_is_what_make_bench_readme_prints() -> None:
    """Titles and the rows of the shipped models, but for the loss, which depends on the machine."""
    found = MEASURED.search(README.read_text(encoding="utf-8"))
    assert found is not None
    written = cells(found["table"])
    fresh = cells(table(measure(SHIPPED)))
    again = "put the output of `make bench-readme` into README.md"
    assert written[0] == fresh[0], again
    kept = [number for number, title in enumerate(fresh[0]) if "loss" not in title]
    rows = {row[0]: [row[number] for number in kept] for row in written[2:]}
    for row in fresh[2:]:
        assert rows.get(row[0]) == [row[number] for number in kept], again


def test_its_list_of_needs_is_the_projects() -> None:
    """What to install by hand where an onnxruntime is there already."""
    text = README.read_text(encoding="utf-8").replace("\\\n", "")
    found = re.search(r"pip install --no-deps graphopt\npip install ([^\n]+)", text)
    assert found is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = [need for need in project["dependencies"] if not need.startswith("onnxruntime")]
    assert shlex.split(found.group(1)) == needs
    assert '"onnxruntime>=1.20' in str(project["dependencies"]).replace("'", '"')
    assert "(1.20 or newer)" in text


@pytest.mark.parametrize("word", ["make demo", "make test"])
def test_the_two_commands_are_those_that_ci_runs(word: str) -> None:
    assert f"\n{word}\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.search(rf"^{word}\b", README.read_text(encoding="utf-8"), re.MULTILINE)


def test_it_is_short() -> None:
    """Depth belongs into docs/."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 230

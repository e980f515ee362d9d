"""A newcomer follows the README's "Write a pass": its blocks, as they are, make a plug-in.

The package lies outside the repository, is installed by pip into a folder of its own, and is seen
by commands in other processes through PYTHONPATH alone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest

from tests.build import parse
from tests.docs.documents import ROOT, Block, blocks
from tests.passes.situations import SITUATIONS

MOST_LINES = 25
"""Of the pass, blank ones not counted, imports included."""

MODEL = """g (float[N,4] x) => (float[N,4] y) {
    a = Relu(x)
    b = Relu(a)
    c = Relu(b)
    d = Neg(c)
    y = Abs(d)
}"""


@dataclass(frozen=True)
class Plugin:
    """The newcomer's package, installed.

    Attributes:
        name: The pass's name.
        distribution: The package's name, as its metadata says.
        site: The folder it is installed in.
        work: An empty folder to run commands in.
    """

    name: str
    distribution: str
    site: Path
    work: Path

    def python(self, *arguments: object, cwd: Path | None = None) -> str:
        """Run Python in another process that sees the package; give what it prints."""
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd or self.work, env={**os.environ, "PYTHONPATH": str(self.site)},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout


def the_block(language: str, containing: str) -> Block:
    found = [
        block
        for block in blocks(ROOT / "README.md")
        if block.language == language and containing in block.content
    ]
    assert len(found) == 1, f"{language} blocks with {containing!r} in README.md: {len(found)}"
    return found[0]


def only(pattern: str, text: str) -> str:
    found = re.findall(pattern, text)
    assert len(found) == 1, f"{pattern}: {found}"
    return str(found[0])


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    home = tmp_path_factory.mktemp("newcomer")
    source, site, work = home / "source", home / "site", home / "work"
    work.mkdir()
    code = the_block("python", "def rewrite").content
    project = the_block("toml", "graphopt.passes").content
    name = only(r'name: ClassVar\[str\] = "(\w+)"', code)
    package = only(r'graphopt\.passes"\]\n\w+ = "(\w+)"', project)
    (source / package).mkdir(parents=True)
    (source / package / "__init__.py").touch()
    (source / package / f"{name}.py").write_text(code, encoding="utf-8")
    (source / "pyproject.toml").write_text(project, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, source],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Plugin(name, only(r'\nname = "([\w-]+)"', project), site, work)


def test_the_pass_is_short_and_whole() -> None:
    code = the_block("python", "def rewrite").content
    assert len([line for line in code.splitlines() if line.strip()]) <= MOST_LINES
    assert "@dataclass(frozen=True)" in code
    assert "def match" in code


def test_it_is_listed(plugin: Plugin) -> None:
    rows = plugin.python("-m", "graphopt", "passes").splitlines()
    (row,) = (row for row in rows if row.startswith(f"{plugin.name} "))
    assert plugin.distribution in row.split()
    page = plugin.python("-m", "graphopt", "passes", plugin.name, "--markdown")
    assert page.splitlines()[2] == f"# {plugin.name}"


def test_it_works_in_a_recipe(plugin: Plugin) -> None:
    onnx.save(parse(MODEL), plugin.work / "model.onnx")
    recipe = f'admits = "identical"\n[[stage]]\n[[stage.pass]]\nname = "{plugin.name}"\n'
    (plugin.work / "r.toml").write_text(recipe, encoding="utf-8")
    command = ("optimize", "model.onnx", "-o", "out.onnx", "--recipe", "r.toml", "--json")
    report = json.loads(plugin.python("-m", "graphopt", *command))
    assert report["status"] == "verified"
    (stage,) = report["stages"]
    assert [(done["name"], done["rewrites"]) for done in stage["passes"]] == [(plugin.name, 2)]
    ops = [node.op_type for node in onnx.load(plugin.work / "out.onnx").graph.node]
    assert ops == ["Relu", "Neg", "Abs"]


def test_the_contract_covers_it(plugin: Plugin) -> None:
    """Its tests are collected for the new pass without a word there, and pass."""
    arguments = ("-n", "0", "-p", "no:cacheprovider", "-rp", "-k", plugin.name)
    printed = plugin.python("-m", "pytest", *arguments, "tests/passes/test_contract.py", cwd=ROOT)
    passed = re.findall(rf"^PASSED .*::(test_\w+)\[.*{plugin.name}", printed, re.MULTILINE)
    assert passed.count("test_situation") == len(SITUATIONS)
    assert {"test_declaration", "test_weights_in_another_file", "test_fires_on"} <= set(passed)

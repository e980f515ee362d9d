"""Reading the documents: what they tell a reader to run, to copy, and to look at.

A code block's language says what becomes of it in the tests: `sh` has its `graphopt` lines run,
`python` is executed, `toml` is a recipe (or the file that its first line names, as
`# pyproject.toml`), and `text` or nothing is only shown. A command whose exit code is not 0 says so
behind it: `graphopt optimize ...  # exit code 1`; where the machine decides, it says which there
are: `# exit code 0, 1 or 5`.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markdown_it import MarkdownIt
from markdown_it.token import Token

from models.catalog import by_name, feeds

ROOT = Path(__file__).parent.parent.parent
WRITTEN = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    ROOT / "models" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
)
"""Documents that people write; docs/passes is generated."""
GENERATED = tuple(sorted((ROOT / "docs" / "passes").glob("*.md")))

SAMPLE_SETS = 3
_EXIT_CODE = re.compile(r"#.*\bexit code ((?:\d+, )*\d+(?: or \d+)?)")
_FILE_NAME = re.compile(r"# (\S+\.toml)\n")


@dataclass(frozen=True, slots=True)
class Block:
    """A code block of a document.

    Attributes:
        document: The document's name.
        line: Where it begins, counted from 1.
        language: What stands behind the three backticks.
        content: Its text, ending in a newline.
    """

    document: str
    line: int
    language: str
    content: str

    @property
    def where(self) -> str:
        """How a failure names it."""
        return f"{self.document}:{self.line}"

    @property
    def file_name(self) -> str:
        """The file that the first line of a TOML block names; empty for a recipe."""
        found = _FILE_NAME.match(self.content) if self.language == "toml" else None
        return found.group(1) if found else ""


@dataclass(frozen=True, slots=True)
class Command:
    """A line that a reader types, and the exit codes that the document states."""

    where: str
    text: str
    exit_codes: tuple[int, ...]


def blocks(document: Path) -> list[Block]:
    """The code blocks of a document, in order."""
    name = str(document.relative_to(ROOT)) if document.is_relative_to(ROOT) else document.name
    return [
        Block(name, (token.map or [0])[0] + 1, token.info.split(" ")[0], token.content)
        for token in _tokens(document)
        if token.type == "fence"
    ]


def links(document: Path) -> list[str]:
    """What the document links to, images included."""
    return [
        str(child.attrs.get("href") or child.attrs.get("src"))
        for token in _tokens(document)
        for child in token.children or ()
        if child.type in ("link_open", "image")
    ]


def anchors(document: Path) -> set[str]:
    """The names by which links reach the document's headings, as GitHub makes them."""
    tokens = _tokens(document)
    titles = [
        inline.content
        for token, inline in itertools.pairwise(tokens)
        if token.type == "heading_open"
    ]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(block: Block) -> Iterator[Command]:
    """The `graphopt` lines of a shell block; a backslash joins a line with the next."""
    if block.language != "sh":
        return
    for line in block.content.replace("\\\n", " ").splitlines():
        if line.startswith("graphopt "):
            stated = _EXIT_CODE.search(line)
            codes = re.findall(r"\d+", stated.group(1)) if stated else ["0"]
            yield Command(block.where, line, tuple(map(int, codes)))


def prepare(folder: Path) -> None:
    """Put there what the documents take for granted: models, samples of inputs, `graphopt`."""
    shutil.copy(ROOT / "models" / "resnet_20.onnx", folder / "model.onnx")
    (folder / "vendor").mkdir()
    for name in ("lenet_5", "mixnet"):
        shutil.copy(ROOT / "models" / f"{name}.onnx", folder / "vendor")
    (folder / "samples").mkdir()
    for seed in range(SAMPLE_SETS):
        arrays = feeds(by_name("resnet_20"), seed)
        np.savez(folder / "samples" / f"{seed}.npz", allow_pickle=False, **arrays)
    script = folder / "bin" / "graphopt"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m graphopt "$@"\n', encoding="utf-8")
    script.chmod(0o755)


def problems(document: Path, folder: Path) -> list[str]:
    """Run a document's commands and Python in order, in a prepared folder; say what went wrong."""
    found = []
    for block in blocks(document):
        for command in commands(block):
            done = _run(["/bin/sh", "-c", command.text], folder)
            if done.returncode not in command.exit_codes:
                found.append(f"{command.where}: `{command.text}`: {_outcome(done)}")
        if block.language == "python":
            done = _run([sys.executable, "-c", block.content], folder)
            if done.returncode:
                found.append(f"{block.where}: the Python block: {_outcome(done)}")
    return found


def _run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder / "bin"), os.environ.get("PATH", "")])
    return subprocess.run(
        arguments, cwd=folder, env={**os.environ, "PATH": path},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def _outcome(done: subprocess.CompletedProcess[str]) -> str:
    return f"exit code {done.returncode}: {done.stderr or done.stdout}"


def _tokens(document: Path) -> list[Token]:
    text = document.read_text(encoding="utf-8")
    return MarkdownIt("commonmark").enable("table").parse(text)

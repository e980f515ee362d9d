"""The documents beside the README: what they say to run runs, what they link to is there."""

from __future__ import annotations

import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest

from graphopt.engine.recipe import parse_recipe
from tests.docs.documents import (
    GENERATED,
    ROOT,
    WRITTEN,
    Block,
    anchors,
    blocks,
    commands,
    links,
    prepare,
    problems,
)


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


RUN = [path for path in WRITTEN if path.name != "README.md"]
"""Those whose commands are run here: the README's have a test of their own."""


@pytest.mark.parametrize("document", [*WRITTEN, *GENERATED], ids=shown)
def test_links_lead_somewhere(document: Path) -> None:
    dead = []
    for link in links(document):
        if link.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (document.parent / path).resolve() if path else document
        inside = target.exists() and target.is_relative_to(ROOT)
        if not inside or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("document", WRITTEN, ids=shown)
def test_toml_is_a_recipe(document: Path) -> None:
    for block in blocks(document):
        if block.language == "toml" and not block.file_name:
            parse_recipe(block.content, block.where)
        elif block.file_name:
            assert tomllib.loads(block.content)["project"]["entry-points"]["graphopt.passes"]


@pytest.mark.parametrize("document", RUN, ids=shown)
def test_what_it_says_to_run_runs(document: Path, tmp_path: Path) -> None:
    prepare(tmp_path)
    assert problems(document, tmp_path) == []


@pytest.mark.parametrize("document", WRITTEN, ids=shown)
def test_blocks_have_languages_that_the_tests_know(document: Path) -> None:
    """A block of another language (`bash`, `console`) would never be run."""
    languages = {block.language for block in blocks(document)}
    assert languages <= {"sh", "python", "toml", "text", ""}
    shell = [b for b in blocks(document) if b.language == "" and "\ngraphopt " in f"\n{b.content}"]
    assert [block.where for block in shell] == [], "write sh behind the backticks"


def test_commands_are_read_with_their_exit_codes() -> None:
    text = (
        "graphopt a \\\n  b  # exit code 3: no such file\nmake demo\n graphopt c\ngraphopt d > e\n"
        "graphopt f  # it depends: exit code 0, 1 or 5\n"
    )
    found = [(c.text, c.exit_codes) for c in commands(Block("x", 1, "sh", text))]
    assert found == [
        ("graphopt a    b  # exit code 3: no such file", (3,)),
        ("graphopt d > e", (0,)),
        ("graphopt f  # it depends: exit code 0, 1 or 5", (0, 1, 5)),
    ]
    assert list(commands(Block("x", 1, "text", text))) == []


def test_what_fails_is_found(tmp_path: Path) -> None:
    document = tmp_path / "sample.md"
    document.write_text(
        "```sh\ngraphopt passes\ngraphopt passes nothing_such\n"
        "graphopt passes x  # exit code 2\n```\n"
        "```python\nraise SystemExit(3)\n```\n",
        encoding="utf-8",
    )
    (tmp_path / "run").mkdir()
    prepare(tmp_path / "run")
    first, second = problems(document, tmp_path / "run")
    assert "`graphopt passes nothing_such`: exit code 2: graphopt: error: there is no" in first
    assert "sample.md:6: the Python block: exit code 3" in second

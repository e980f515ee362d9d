from __future__ import annotations

from pathlib import Path

import pytest

from graphopt.engine import load_recipe
from graphopt.engine.recipe import built_in
from tests.cli.conftest import Run


def test_recipes_lists_every_recipe(run: Run) -> None:
    done = run("recipes")
    assert done.code == 0
    for name in built_in():
        assert name in done.out
        assert load_recipe(name).description in done.out


@pytest.mark.parametrize("name", built_in())
def test_printed_recipe_can_be_used(run: Run, model: Path, name: str) -> None:
    done = run("recipes", name)
    Path("mine.toml").write_text(done.out)
    assert load_recipe("mine.toml").digest == load_recipe(name).digest
    assert run("optimize", model, "-o", "out.onnx", "--recipe", "mine.toml").code == 0


def test_list_is_plain_text_without_a_terminal(run: Run) -> None:
    text = run("recipes").out
    assert text.isascii()
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())

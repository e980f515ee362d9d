from __future__ import annotations

import pytest

from graphopt.engine import available
from graphopt.engine.describe import describe
from graphopt.engine.pass_page import pass_index, pass_page
from tests.cli.conftest import Run, is_error


def test_passes_lists_every_pass_with_its_effect(run: Run) -> None:
    done = run("passes")
    assert (done.code, done.err) == (0, "")
    rows = {line.split()[0]: line for line in done.out.splitlines()}
    for name, entry in available().items():
        assert entry.category in rows[name]
        assert entry.load().effect.value in rows[name]


@pytest.mark.parametrize("name", list(available()))
def test_one_pass_with_conditions_and_options(run: Run, name: str) -> None:
    done = run("passes", name)
    assert done.code == 0
    assert done.out.startswith(f"{name} (")
    described = describe(available()[name])
    assert described.module_text in done.out
    assert described.summary in done.out
    assert f"Fires on: {', '.join(described.fires_on)}." in done.out or not described.fires_on
    for option in described.options:
        assert f"  {option.name}: {option.type} = " in done.out
        assert option.text.split()[0] in done.out


@pytest.mark.parametrize("name", list(available()))
def test_markdown_of_one_is_its_page(run: Run, name: str) -> None:
    done = run("passes", name, "--markdown")
    assert (done.code, done.err) == (0, "")
    assert done.out == pass_page(describe(available()[name]))


def test_markdown_of_all_is_the_table(run: Run) -> None:
    done = run("passes", "--markdown")
    assert (done.code, done.err) == (0, "")
    assert done.out == pass_index(map(describe, available().values()))


def test_unknown_pass_prints_no_page(run: Run) -> None:
    assert is_error(run("passes", "fold_constant", "--markdown"), 2, "did you mean fold_constants?")


def test_passes_takes_dashes(run: Run) -> None:
    assert run("passes", "fold-constants").out == run("passes", "fold_constants").out


def test_list_is_plain_text_without_a_terminal(run: Run) -> None:
    text = run("passes").out
    assert text.isascii()
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())

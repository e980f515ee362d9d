from __future__ import annotations

import pytest

from graphopt.engine import available, option_types
from tests.cli.conftest import Run


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
    assert "Fires on: " in done.out
    for option in option_types(available()[name].load()):
        assert f"  {option}: " in done.out


def test_passes_takes_dashes(run: Run) -> None:
    assert run("passes", "fold-constants").out == run("passes", "fold_constants").out


def test_list_is_plain_text_without_a_terminal(run: Run) -> None:
    text = run("passes").out
    assert text.isascii()
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())

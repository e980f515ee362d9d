"""docs/pipeline.md: its tables say what the code says."""

from __future__ import annotations

import re

import click
import pytest

from graphopt.cli.optimize import command
from graphopt.errors import ExitCode
from graphopt.report.requirement import METRICS, OPERATORS
from tests.docs.documents import ROOT

TEXT = (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8")


def test_every_exit_code_is_there() -> None:
    rows = re.findall(r"^\| (\d+) \| \w", TEXT, re.MULTILINE)
    assert [int(code) for code in rows] == [code.value for code in ExitCode]


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_there_with_its_meaning(name: str) -> None:
    row = next(line for line in TEXT.splitlines() if line.startswith("|") and f"`{name}`" in line)
    if METRICS[name].measured_by == "optimize":
        assert row == f"| `{name}` | {METRICS[name].meaning} |"
    else:
        assert f"`graphopt {METRICS[name].measured_by}`" in row


def test_every_operator_is_there() -> None:
    assert all(f"`{sign}`" in TEXT for sign in OPERATORS)


def test_options_exist() -> None:
    options = {o for p in command.params if isinstance(p, click.Option) for o in p.opts}
    stated = set(re.findall(r"`(--[a-z-]+)", TEXT))
    assert stated
    assert stated <= options

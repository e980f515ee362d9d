"""The workflow in docs/: GitHub would take it, and graphopt takes the commands in it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from graphopt.cli import cli
from graphopt.cli.console import guarded
from graphopt.report.files import check_suffix
from graphopt.report.requirement import check_measurable, parse_requirement

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / "docs" / "github-actions.yml"


def checked(path: Path) -> subprocess.CompletedProcess[str]:
    """What the published schema of workflows says of a file."""
    schema = ("--builtin-schema", "vendor.github-workflows")
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *schema, path],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def steps() -> list[dict[str, Any]]:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def commands() -> Iterator[list[str]]:
    """The command lines of every step, as a shell splits them."""
    for step in steps():
        for line in step.get("run", "").replace("\\\n", " ").splitlines():
            yield shlex.split(line)


def parsed(words: list[str]) -> dict[str, Any]:
    """The options of a graphopt command, read by the command line itself, which is not run.

    Raises:
        click.UsageError: It has no such command or option, or no such value of one.
    """
    program, name, *arguments = words
    assert program == "graphopt"
    command = cli.get_command(click.Context(cli), name)
    if command is None:
        raise click.UsageError(f"no command {name!r}")
    return command.make_context(name, arguments).params


def optimize() -> list[str]:
    (words,) = [words for words in commands() if words[:2] == ["graphopt", "optimize"]]
    return words


def test_github_would_take_it() -> None:
    done = checked(WORKFLOW)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("given", "odd"),
    [("runs-on:", "run-on:"), ("        run: |", "        runs: |"), ("steps:", "steps: {}\n#")],
)
def test_the_check_can_fail(tmp_path: Path, given: str, odd: str) -> None:
    text = WORKFLOW.read_text(encoding="utf-8")
    assert given in text
    (tmp_path / "odd.yml").write_text(text.replace(given, odd, 1), encoding="utf-8")
    assert checked(tmp_path / "odd.yml").returncode == 1


def test_every_graphopt_command_is_one() -> None:
    found = [words for words in commands() if words[0] == "graphopt"]
    assert found
    for words in found:
        parsed(words)


def test_a_command_that_is_none_is_found() -> None:
    with pytest.raises(click.UsageError):
        parsed(["graphopt", "optimise", "model.onnx"])
    with pytest.raises(click.UsageError):
        parsed(["graphopt", "optimize", "model.onnx", "--requires", "snr_db >= 40"])


def test_requirements_mean_something() -> None:
    words = optimize()
    texts = [text for option, text in pairwise(words) if option == "--require"]
    found = [parse_requirement(text) for text in texts]
    assert len(found) == 2
    check_measurable(found, "optimize")


def test_what_is_written_is_kept() -> None:
    options = parsed(optimize())
    (kept,) = [step["with"]["path"].split() for step in steps() if "upload" in step.get("uses", "")]
    for path in options["reports"]:
        check_suffix(path)
    for path in (options["output"], *options["reports"]):
        assert any(fnmatch(str(path), pattern) for pattern in kept), path


def test_the_command_does_what_the_workflow_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "models" / "resnet_20.onnx", "model.onnx")
    shutil.copy(ROOT / "graphopt" / "recipes" / "exact.toml", "recipe.toml")
    assert guarded(cli, optimize()[1:]) == 0
    left = {entry.name for entry in tmp_path.iterdir()} - {"model.onnx", "recipe.toml"}
    assert left == {"smaller.onnx", "report.json", "report.md", "junit.xml"}
    assert "requirement: snr_db" in Path("junit.xml").read_text(encoding="utf-8")


def test_reports_are_kept_when_the_job_fails() -> None:
    after = steps()[[step.get("name") for step in steps()].index("Optimise, prove, judge") + 1 :]
    assert len(after) == 2
    assert all(step["if"].startswith("always()") for step in after)

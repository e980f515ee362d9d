from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from graphopt.cli.doctor_passes import load_passes, pass_findings
from graphopt.engine import available
from graphopt.report.findings import Finding
from graphopt.runtime.child import ask
from tests.engine.third_party import install, pass_source

Install = Callable[[str, dict[str, str]], None]


@pytest.fixture
def third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a third party's distribution of passes, for child processes."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(distribution: str, files: dict[str, str]) -> None:
        install(tmp_path, distribution, f"{distribution}_passes", files)

    return put


def by_subject(findings: list[Finding]) -> dict[str, tuple[str, str]]:
    return {found.subject: (found.level, found.text) for found in findings}


def test_own_passes_load() -> None:
    own = [entry for entry in available().values() if entry.distribution == "graphopt"]
    (found,) = pass_findings()
    assert (found.subject, found.level, found.facts) == ("graphopt", "ok", {"loaded": len(own)})


def test_third_party_that_works(third: Install) -> None:
    third("acme", {"swap_things.py": pass_source("swap_things")})
    assert by_subject(pass_findings())["acme"] == ("ok", "1 passes load")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import nothing_such", "No module named 'nothing_such'"),
        ("class Other: pass", "SwapThings"),
        ("def broken(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("import sys; sys.exit('no licence')", "SystemExit: no licence"),
    ],
)
def test_broken_pass_is_reported_by_distribution(third: Install, source: str, words: str) -> None:
    third("acme", {"swap_things.py": source})
    found = {f.subject: f for f in pass_findings()}
    assert found["graphopt"].level == "ok"
    acme = found["acme"]
    assert (acme.level, acme.facts) == ("warning", {"pass": "swap_things"})
    assert "swap_things" in acme.text
    assert words in acme.text
    assert acme.hint == "update or uninstall acme"


def test_pass_that_crashes_is_reported_by_distribution(third: Install) -> None:
    third("acme", {"swap_things.py": "import os; os.abort()"})
    (found,) = pass_findings()
    assert found.level == "problem"
    assert found.text.endswith("while loading swap_things of acme")


def test_package_that_is_not_there_stops_the_registry(tmp_path: Path, third: Install) -> None:
    third("acme", {})
    (tmp_path / "acme_passes" / "__init__.py").unlink()
    (tmp_path / "acme_passes").rmdir()
    (found,) = pass_findings()
    assert found.level == "problem"
    assert "acme names the package 'acme_passes'" in found.text
    assert found.hint == "reinstall or uninstall acme"


def test_name_that_two_bring_stops_the_registry(third: Install) -> None:
    third("acme", {"fold_constants.py": pass_source("fold_constants")})
    (found,) = pass_findings()
    assert found.level == "problem"
    assert "acme" in found.text
    assert "graphopt" in found.text


def test_child_tells_each_pass() -> None:
    passes = ask(load_passes).value["passes"]
    assert [name for name, _, _ in passes] == list(available())
    assert {error for _, _, error in passes} == {""}

"""Whether the registered passes load: a third party's may do anything when it is imported."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from graphopt.errors import GraphoptError
from graphopt.report.findings import Finding, Level
from graphopt.runtime.child import ask

_OWN = "graphopt"


def pass_findings() -> list[Finding]:
    """Load every pass in a child process: one finding a distribution, one for each broken pass."""
    answer = ask(load_passes)
    if answer.failure:
        at = [line for line in answer.log.splitlines() if line.startswith(_LOADING)]
        where = f" while {at[-1]}" if at else ""
        return [Finding("passes", "registry", "problem", f"{answer.failure}{where}")]
    if "refused" in answer.value:
        return [
            Finding("passes", "registry", "problem", answer.value["refused"], answer.value["hint"])
        ]
    return _judged(answer.value["passes"])


_LOADING = "loading "


def load_passes() -> dict[str, Any]:
    """Runs in the child: import each pass.

    Returns:
        `passes`: name, distribution and error (empty when none) of each; or, when the registry
        refuses, `refused` and `hint`.
    """
    from graphopt.engine import available

    try:
        entries = available()
    except GraphoptError as error:
        return {"refused": str(error), "hint": error.hint or ""}
    found = []
    for entry in entries.values():
        print(f"{_LOADING}{entry.name} of {entry.distribution}", file=sys.stderr, flush=True)
        error_text = ""
        try:
            entry.load()
        except (Exception, SystemExit) as error:
            raised = error.__cause__ or error  # what the pass's own file raised
            error_text = " ".join(f"{type(raised).__name__}: {raised}".split())[:500]
        found.append([entry.name, entry.distribution, error_text])
    return {"passes": found}


def _judged(passes: list[list[str]]) -> list[Finding]:
    loaded = Counter(distribution for _, distribution, error in passes if not error)
    findings = [
        Finding("passes", name, "ok", f"{count} passes load", facts={"loaded": count})
        for name, count in loaded.items()
    ]
    for name, distribution, error in passes:
        if error:
            # Recipes that do not name it still work, unless it is one of our own.
            level: Level = "problem" if distribution == _OWN else "warning"
            text = f"the pass {name} cannot be used: {error}"
            hint = f"update or uninstall {distribution}"
            findings.append(Finding("passes", distribution, level, text, hint, {"pass": name}))
    return findings

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from graphopt.errors import UsageError
from graphopt.report.bench import BenchModel, Environment, Interval
from graphopt.report.text import plain
from graphopt.report.tune import (
    TUNE_SCHEMA_VERSION,
    TuneCandidate,
    TuneDropped,
    TuneFinal,
    TuneReport,
    TuneSettings,
)
from graphopt.report.tune_text import headline, render_tune, to_tune_markdown, write_tune
from tests.report.bench_reports import CPU

DEFAULT = TuneSettings(0, True, "all", True, True, True, {}, False, None, 1)
BEST = dataclasses.replace(DEFAULT, spinning=False)
RATIO = Interval(0.8, 0.78, 0.82)
CODE = "import onnxruntime\n\noptions = onnxruntime.SessionOptions()\n"


def tuned(**changes: Any) -> TuneReport:
    base = TuneReport(
        schema=TUNE_SCHEMA_VERSION, started="2026-01-02T03:04:05+00:00", seconds=29.5,
        limit_seconds=30.0, seed=0, objective="latency",
        model=BenchModel("net", "net.onnx", "aa" * 32, 1000, 100, 10), provider=CPU,
        provider_options={}, shapes={"x": [1, 3]}, default=DEFAULT, best=BEST,
        best_name="no spinning", ratio=RATIO, final=TuneFinal("no spinning", RATIO, None, 60, 3),
        candidates=[
            TuneCandidate("no spinning", BEST, 2, 0.79), TuneCandidate("default", DEFAULT, 2, 1.0),
        ],
        dropped=[TuneDropped("level off", "slow"), TuneDropped("no arena", "slow")],
        notes=["something"],
        environment=Environment("Linux 6", "a CPU", 2, 10**9, 0.5, {"onnxruntime": "1.31"}, []),
        snippet=CODE,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


UNSHOWN = tuned(best=DEFAULT, best_name="default", ratio=Interval(1, 1, 1),
                final=TuneFinal("no spinning", Interval(0.99, 0.9, 1.1), None, 60, 3))  # fmt: skip


def shown(report: TuneReport, **options: Any) -> list[str]:
    return plain(render_tune(report, **options), width=160).splitlines()


def test_headline() -> None:
    assert headline(tuned()) == (
        f"net on {CPU}, latency: no spinning: 0.800 [0.780, 0.820] of the default's time of a call"
    )
    assert "the default; not shown to be better: no spinning, 0.99" in headline(UNSHOWN)
    nothing = dataclasses.replace(UNSHOWN, final=None)
    assert headline(nothing).endswith("the default; nothing else was in the final")
    final = TuneFinal("no spinning", Interval(0.8, 0.8, 0.8), Interval(1.0, 0.9, 1.1), 60, 3)
    memory = headline(tuned(objective="memory", final=final))
    assert "0.800 (time of a call: 1.000 [0.900, 1.100]) of the default's peak bytes" in memory
    assert headline(tuned(objective="throughput")).endswith("of the default's time of a row")


def test_text_has_code_at_its_end_as_it_is() -> None:
    lines = shown(tuned())
    assert lines[-3:] == CODE.splitlines()
    assert "left out: 2 candidates: slow" in lines
    assert "note: something" in lines
    assert any("60 pairs of blocks in 3 fresh pairs of processes" in line for line in lines)


def test_verbose_lists_everything() -> None:
    many = [TuneCandidate(f"c{n}", BEST, 1, 1.0) for n in range(20)]
    brief, full = (shown(tuned(candidates=many), verbose=v) for v in (False, True))
    assert "and 12 more (-v)" in brief
    assert not any(line.startswith("c19") for line in brief)
    assert any(line.startswith("c19") for line in full)
    assert {"left out: level off: slow", "left out: no arena: slow"} <= set(full)


def test_markdown() -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(to_tune_markdown(tuned()))
    kinds = [token.type for token in tokens]
    assert "table_open" in kinds
    (code,) = [token for token in tokens if token.type == "code_block"]
    assert code.content == CODE


def test_names_forge_nothing() -> None:
    model = dataclasses.replace(tuned().model, name="a\x1b[31m|`b\nc")
    report = tuned(model=model, snippet='x = "\x1b[31m"\n')
    assert "\x1b" not in "\n".join(shown(report))
    text = to_tune_markdown(report)
    assert "\x1b" not in text
    assert text.splitlines()[0].startswith("# Tuning of a\\\\x1b")


def test_files(tmp_path: Path) -> None:
    write_tune(tuned(), tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["best_name"] == "no spinning"
    write_tune(tuned(), tmp_path / "t.md")
    assert (tmp_path / "t.md").read_text() == to_tune_markdown(tuned())
    with pytest.raises(UsageError):
        write_tune(tuned(), tmp_path / "t.html")

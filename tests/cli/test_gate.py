from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from graphopt.report.bench import BenchReport, Interval
from graphopt.report.bench_files import write_bench
from tests.cli.conftest import Run, is_error
from tests.report.bench_reports import (
    sample_arm,
    sample_candidate,
    sample_case,
    sample_environment,
    sample_report,
)
from tests.report.schema_file import GATE


def measured(ratio: float, off: float = 0.001, **changes: object) -> BenchReport:
    interval = Interval(ratio, ratio / (1 + off), ratio * (1 + off))
    arms = [sample_arm(), sample_candidate("same.onnx", ratio, "same", ratio=interval)]
    models = [sample_report().models[0], sample_report().models[2]]
    base = sample_report(cases=[sample_case(arms=arms)], models=models, requirements=[])
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture
def baseline(tmp_path: Path) -> str:
    write_bench(measured(0.8), tmp_path / "old.json")
    return "old.json"


def saved(report: BenchReport, name: str = "new.json") -> str:
    write_bench(report, Path(name))
    return name


@pytest.mark.parametrize(
    ("ratio", "off", "code", "word"),
    [
        (0.8, 0.001, 0, "ok"),
        (0.6, 0.001, 0, "ok"),
        (0.9, 0.001, 1, "REGRESSION"),
        (0.81, 0.02, 5, "INCONCLUSIVE"),
    ],
)
def test_exit_code(run: Run, baseline: str, ratio: float, off: float, code: int, word: str) -> None:
    done = run("gate", baseline, saved(measured(ratio, off)))
    assert (done.code, done.err) == (code, "")
    assert done.out.startswith(f"gate: {word}; 1 comparison, up to 2 % slower allowed")


def test_tolerance(run: Run, baseline: str) -> None:
    new = saved(measured(0.9))
    assert run("gate", baseline, new, "--tolerance", "0.2").code == 0
    assert run("gate", baseline, new, "--tolerance", "0.01").code == 1
    for odd in ("-0.1", "nan", "inf", "much"):
        assert is_error(run("gate", baseline, new, "--tolerance", odd), 2, odd)


def test_json(run: Run, baseline: str) -> None:
    done = run("gate", baseline, saved(measured(0.9)), "--json")
    data = json.loads(done.out)
    GATE.validator(closed=True).validate(data)
    assert (done.code, data["outcome"], data["rows"][0]["outcome"]) == (1, *["regression"] * 2)


def test_reports_are_written_whatever_comes_out(run: Run, baseline: str, tmp_path: Path) -> None:
    names = [f"gate{suffix}" for suffix in (".json", ".md", ".xml")]
    options = [word for name in names for word in ("--report", name)]
    assert run("gate", baseline, saved(measured(0.9)), *options).code == 1
    for name in names:
        assert "regression" in (tmp_path / name).read_text().lower()


def test_other_machine_is_refused_unless_forced(run: Run, baseline: str) -> None:
    new = saved(measured(0.8, environment=sample_environment(cores=8)))
    done = run("gate", baseline, new)
    assert is_error(done, 2, "machine: Some CPU 9000, 2 cores, Some GPU / Some CPU 9000, 8 cores")
    assert "hint: --force" in done.err
    forced = run("gate", baseline, new, "--force")
    assert forced.code == 0
    assert "warning: forced, different machine: Some CPU 9000, 2 cores" in forced.out


def test_no_case_in_common(run: Run, baseline: str) -> None:
    other = [dataclasses.replace(case, threads=7) for case in measured(0.8).cases]
    new = saved(measured(0.8, cases=other))
    assert is_error(run("gate", baseline, new), 2, "no case in common")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"schema": NaN}', "NaN is no number of JSON"),
        ('{"schema": 1}', "is no report of graphopt bench: started is missing"),
    ],
)
def test_file_that_is_no_benchmark(run: Run, baseline: str, content: str, said: str) -> None:
    Path("bad.json").write_text(content)
    assert is_error(run("gate", baseline, "bad.json"), 3, "bad.json", said)
    assert is_error(run("gate", "bad.json", baseline), 3, "bad.json", said)


def test_file_that_is_not_there(run: Run, baseline: str) -> None:
    assert is_error(run("gate", baseline, "none.json"), 3, "none.json", "No such file")


def test_report_that_cannot_be_written_is_told_before_reading(run: Run) -> None:
    done = run("gate", "none.json", "none.json", "--report", "gate.html")
    assert is_error(done, 2, "unknown suffix")


def test_gate_needs_nothing_that_is_slow_to_import() -> None:
    code = (
        "import sys; from graphopt.report import bench_files, gate_forms; "
        "print(sorted({'onnx', 'onnxruntime', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

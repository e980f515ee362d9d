from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from graphopt.errors import FileError, UsageError
from graphopt.report.bench import Arm, BenchReport, Interval
from graphopt.report.bench_files import check_bench_suffix, read_bench, write_bench
from graphopt.report.bench_junit import to_bench_junit
from graphopt.report.bench_markdown import to_bench_markdown
from graphopt.report.files import json_text, write_report
from tests.build import few
from tests.report.bench_reports import (
    sample_arm,
    sample_candidate,
    sample_case,
    sample_report,
    sample_timing,
)
from tests.report.samples import report


def as_json(one: BenchReport) -> str:
    return json_text(one.to_dict())


FORMS: dict[str, Callable[[BenchReport], str]] = {
    ".json": as_json,
    ".md": to_bench_markdown,
    ".xml": to_bench_junit,
}


@pytest.mark.parametrize("suffix", FORMS)
def test_format_by_suffix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bench{suffix}"
    path.write_text("former")
    write_bench(sample_report(), path)
    assert path.read_text(encoding="utf-8") == FORMS[suffix](sample_report())
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_html(tmp_path: Path) -> None:
    write_bench(sample_report(), tmp_path / "bench.html")
    text = (tmp_path / "bench.html").read_text(encoding="utf-8")
    assert text.lstrip().lower().startswith("<!doctype html>")
    assert "smaller/net.onnx" in text


@pytest.mark.parametrize("name", ["bench.txt", "bench", "bench.JSON"])
def test_unknown_suffix(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="unknown suffix") as caught:
        write_bench(sample_report(), tmp_path / name)
    assert caught.value.hint == "use .json, .md, .html or .xml"
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="folder does not exist"):
        check_bench_suffix(tmp_path / "none" / "bench.html")
    check_bench_suffix(tmp_path / "bench.html")


def written(tmp_path: Path, change: Callable[[Any], object]) -> Path:
    """A report's file, its data changed."""
    data = json.loads(as_json(sample_report()))
    change(data)
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(data))
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_bench(sample_report(), tmp_path / "b.json")
    assert read_bench(tmp_path / "b.json") == sample_report()


floats = st.floats(allow_nan=False)


@given(floats, floats, floats, st.text(st.characters(exclude_categories=()), min_size=1))
@example(math.inf, -math.inf, 5e-324, "caf\udce9.onnx")
@few
def test_any_numbers_and_names_come_back(
    tmp_path_factory: pytest.TempPathFactory, value: float, low: float, high: float, name: str
) -> None:
    interval = Interval(value, low, high)
    wall = sample_timing(mean_ms=value, p99_ms=interval, sample_ms=[low, high])
    arms = [sample_arm(), sample_candidate(f"x{name}", 1.0, "same", wall=wall, ratio=interval)]
    models = sample_report().models[:2]
    models[1] = dataclasses.replace(models[1], name=f"x{name}", path=name)
    one = sample_report(
        cases=[sample_case(arms=arms, rate=value, notes=[name])], requirements=[], models=models
    )
    path = tmp_path_factory.mktemp("any") / "b.json"
    write_bench(one, path)
    assert read_bench(path) == one


def test_fields_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    def later(data: Any) -> None:
        data["mood"] = "good"
        data["cases"][0]["arms"][0]["watts"] = 3.5

    assert read_bench(written(tmp_path, later)) == sample_report()


def test_fields_added_since_may_be_missing(tmp_path: Path) -> None:
    def earlier(data: Any) -> None:
        for case in data["cases"]:
            for arm in case["arms"]:
                del arm["lost"], arm["server_busy"], arm["profile"]

    found = read_bench(written(tmp_path, earlier)).cases[0].arms[0]
    expected: Arm = dataclasses.replace(sample_arm(), profile=[])
    assert found == expected


def test_report_of_another_command(tmp_path: Path) -> None:
    write_report(report(), tmp_path / "r.json")
    with pytest.raises(FileError) as caught:
        read_bench(tmp_path / "r.json")
    said = f"{tmp_path / 'r.json'}: is no report of graphopt bench: started is missing"
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(schema=2), "schema 2, not 1: another graphopt's"),
        (lambda d: d["models"].append(d["models"][0]), "models: two have one name"),
        (lambda d: d.update(reference="x"), "reference: no model 'x'"),
        (lambda d: d["cases"][1].update(arms=[]), "cases[1].arms: the first is not the reference"),
        (
            lambda d: d["cases"][0]["arms"].reverse(),
            "cases[0].arms: the first is not the reference",
        ),
        (
            lambda d: d["cases"][0]["arms"][1].update(model="y"),
            "cases[0].arms: no model 'y'",
        ),
        (
            lambda d: d["cases"][0]["arms"].append(d["cases"][0]["arms"][1]),
            "cases[0].arms: two of one model",
        ),
        (
            lambda d: d["cases"][0]["arms"][1]["ratio"].pop("low"),
            "cases[0].arms[1].ratio.low is missing",
        ),
        (
            lambda d: d["cases"][0]["arms"][1].update(verdict="quick"),
            "cases[0].arms[1].verdict is 'quick', not one of faster, slower, same, inconclusive",
        ),
        (lambda d: d["cases"][0].update(mode=None), None),
        (
            lambda d: d["requirements"][0].update(model="z"),
            "requirements[0].model: no model 'z'",
        ),
        (lambda d: d["requirements"][1].update(case=2), "requirements[1].case: no case 2"),
        (lambda d: d["requirements"][1].update(case=-1), "requirements[1].case: no case -1"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, change: Callable[[Any], object], said: str | None
) -> None:
    path = written(tmp_path, change)
    with pytest.raises(FileError) as caught:
        read_bench(path)
    start = f"{path}: is no report of graphopt bench: "
    said = said or "cases[0].mode is null, not one of alternating, closed loop, open loop"
    assert str(caught.value) == start + said

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphopt.errors import FileError, UsageError
from graphopt.report import Report
from graphopt.report.files import check_suffix, to_json, write_report
from graphopt.report.junit import Judgement, to_junit
from graphopt.report.markdown import to_markdown
from tests.report.samples import report, verification


def strict(text: str) -> Any:
    """Parse JSON without the constants that JSON lacks."""

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def plain(value: Any) -> Any:
    """What JSON makes of plain data."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def test_json_is_the_report() -> None:
    assert strict(to_json(report())) == plain(report().to_dict())


def test_infinities_are_strings() -> None:
    stage = strict(to_json(report()))["stages"][0]["verification"]
    assert stage["losses"][0]["snr_db"] == "inf"
    assert stage["checks"][2]["max_rel"] == "inf"
    odd = to_json(report(seconds=math.nan, seed=-1))
    assert strict(odd)["seconds"] == "nan"


def test_names_need_not_be_ascii() -> None:
    assert strict(to_json(report(source="модель.onnx")))["source"] == "модель.onnx"


def test_name_that_is_no_utf8(tmp_path: Path) -> None:
    # Linux file names are bytes; Python shows the odd ones as lone surrogates.
    source = b"caf\xe9.onnx".decode("utf-8", "surrogateescape")
    for suffix in (".json", ".md", ".xml"):
        write_report(report(source=source), tmp_path / f"r{suffix}")
        assert (tmp_path / f"r{suffix}").stat().st_size > 100


FORMS: dict[str, Callable[[Report], str]] = {
    ".json": to_json,
    ".md": to_markdown,
    ".xml": lambda one: to_junit([one]),
}


@pytest.mark.parametrize("suffix", FORMS)
def test_format_by_suffix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"report{suffix}"
    path.write_text("former")
    write_report(report(), path)
    assert path.read_text(encoding="utf-8") == FORMS[suffix](report())
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_junit_is_told_what_is_a_failure(tmp_path: Path) -> None:
    one = report(verification=verification(status="not verified", checks=()), status="unverified")
    for judgement in (None, Judgement(allow_unverified=True), Judgement(strict=True)):
        write_report(one, tmp_path / "r.xml", judgement)
        assert (tmp_path / "r.xml").read_text(encoding="utf-8") == to_junit([one], judgement)


@pytest.mark.parametrize("name", ["report.txt", "report", "report.json.gz"])
def test_unknown_suffix(name: str) -> None:
    with pytest.raises(UsageError, match="unknown suffix") as caught:
        check_suffix(Path(name))
    assert caught.value.hint == "use .json, .md or .xml"


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="folder does not exist"):
        write_report(report(), tmp_path / "none" / "report.json")


def test_folder_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    with pytest.raises(FileError, match="report cannot be written"):
        write_report(report(), tmp_path / "report.json")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]

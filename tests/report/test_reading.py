from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from graphopt.errors import FileError
from graphopt.report import reading
from graphopt.report.files import json_text
from graphopt.report.reading import read_record
from tests.build import few


@dataclasses.dataclass(frozen=True)
class Part:
    name: str
    share: float | None


@dataclasses.dataclass(frozen=True)
class Whole:
    schema: int
    parts: list[Part]
    counts: dict[str, list[int]]
    mood: Literal["good", "bad"] | None
    done: bool
    pair: tuple[float, ...] = ()
    notes: list[str] = dataclasses.field(default_factory=list)


SAMPLE = Whole(3, [Part("a", 0.5), Part("b", None)], {"x": [1, 2]}, "good", True, (1.0, 2.0), ["n"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "whole.json"


def read(path: Path) -> Whole:
    return read_record(Whole, path, "whole thing", 3)


def refusal(path: Path, content: str | bytes | Any) -> str:
    """What is said of a file with that content, without the file's name: one line."""
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FileError) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert len(text) < len(str(path)) + 200
    return text.removeprefix(f"{path}: ")


def data(**changes: Any) -> dict[str, Any]:
    return {**json.loads(json_text(dataclasses.asdict(SAMPLE))), **changes}


def test_what_was_written_is_read(path: Path) -> None:
    path.write_text(json_text(dataclasses.asdict(SAMPLE)))
    assert read(path) == SAMPLE


@given(
    st.floats(allow_nan=False) | st.none(),
    st.text(st.characters(exclude_categories=())),
    st.dictionaries(st.text(), st.lists(st.integers())),
)
@example(math.inf, "\ud800", {})
@example(5e-324, "\x00", {"": []})
@few
def test_any_values_come_back(
    tmp_path_factory: Any, share: float | None, name: str, counts: dict[str, list[int]]
) -> None:
    one = dataclasses.replace(SAMPLE, parts=[Part(name, share)], counts=counts)
    path = tmp_path_factory.mktemp("any") / "whole.json"
    path.write_text(json_text(dataclasses.asdict(one)))
    assert read(path) == one


def test_nan_comes_back(path: Path) -> None:
    path.write_text(json.dumps(data(parts=[{"name": "a", "share": "nan"}])))
    share = read(path).parts[0].share
    assert share is not None
    assert math.isnan(share)


def test_whole_number_may_stand_for_a_float(path: Path) -> None:
    path.write_text(json.dumps(data(pair=[1, 2.0])))
    assert read(path).pair == (1.0, 2.0)
    assert all(type(number) is float for number in read(path).pair)


def test_unknown_fields_are_passed_over_and_defaults_filled_in(path: Path) -> None:
    older = data(later={"deep": [1]})
    del older["pair"], older["notes"]
    path.write_text(json.dumps(older))
    assert read(path) == dataclasses.replace(SAMPLE, pair=(), notes=[])


def test_byte_order_mark_is_no_matter(path: Path) -> None:
    path.write_text(json.dumps(data()), encoding="utf-8-sig")
    assert read(path) == SAMPLE


def test_file_that_is_not_there(path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read: No such file or directory"):
        read(path)
    with pytest.raises(FileError, match="cannot be read: Is a directory"):
        read(path.parent)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not JSON: Expecting value at line 1"),
        (b"{\n\n", "is not JSON: Expecting property name enclosed in double quotes at line 3"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"\x08\x07ir_version", "is not JSON: Expecting value at line 1"),
        (b'{"schema": NaN}', "is not JSON: NaN is no number of JSON"),
        (b'{"schema": -Infinity}', "is not JSON: -Infinity is no number of JSON"),
        (b'{"schema": ' + b"9" * 5000 + b"}", "is not JSON: Exceeds the limit"),
        (b"[" * 200_000, "is nested too deeply"),
        (b'{"a":' * 200_000, "is nested too deeply"),
        (b"[]", "is no whole thing"),
        (b"3", "is no whole thing"),
        (b"null", "is no whole thing"),
        (b"{}", "is no whole thing"),
    ],
)
def test_files_that_are_no_record(path: Path, content: bytes, said: str) -> None:
    assert refusal(path, content).startswith(said)


def test_nested_far_but_within_what_the_parser_takes(path: Path) -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    assert refusal(path, data(parts=deep)) == (
        "is no whole thing: parts[0] is a list, not an object"
    )


def test_large_file_is_refused_unread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps(data())
    monkeypatch.setattr(reading, "MOST_BYTES", len(text))
    path.write_text(text)
    assert read(path) == SAMPLE
    assert refusal(path, text + " ") == f"is larger than {len(text):,} bytes"


def test_endless_file_is_refused() -> None:
    with pytest.raises(FileError, match="is larger than 67,108,864 bytes"):
        read(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 2}, "schema 2, not 3: another graphopt's"),
        ({"schema": "3"}, "schema '3', not 3: another graphopt's"),
        ({"schema": None}, "schema null, not 3: another graphopt's"),
        ({"parts": {}}, "parts is an object, not a list"),
        ({"parts": None}, "parts is null, not a list"),
        ({"parts": [{"name": "a"}]}, "parts[0].share is missing"),
        ({"parts": [{"name": 5, "share": 1}]}, "parts[0].name is 5, not a text"),
        ({"parts": [{"name": "a", "share": "1"}]}, "parts[0].share is '1', not a number"),
        ({"parts": [{"name": "a", "share": True}]}, "parts[0].share is True, not a number"),
        ({"counts": {"x": [1, 2.5]}}, "counts.x[1] is 2.5, not a whole number"),
        ({"counts": {"x": [True]}}, "counts.x[0] is True, not a whole number"),
        ({"counts": []}, "counts is a list, not an object"),
        ({"mood": "so-so"}, "mood is 'so-so', not one of good, bad"),
        ({"mood": ["good"]}, "mood is a list, not one of good, bad"),
        ({"done": 1}, "done is 1, not true or false"),
        ({"pair": 1}, "pair is 1, not a list"),
    ],
)
def test_field_that_does_not_fit_is_named(path: Path, changes: dict[str, Any], said: str) -> None:
    assert refusal(path, data(**changes)) == f"is no whole thing: {said}"


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" * 400])
def test_number_beyond_floats(path: Path, number: str) -> None:
    text = json.dumps(data(pair=["N"])).replace('"N"', number)
    assert refusal(path, text).endswith("not a number")


def test_long_value_is_shown_in_part(path: Path) -> None:
    said = refusal(path, data(mood="x" * 1_000_000))
    assert said == f"is no whole thing: mood is '{'x' * 39}..., not one of good, bad"


def test_long_key_is_shown_in_part(path: Path) -> None:
    assert "..." in refusal(path, data(counts={"k" * 1000: 1}))


@pytest.mark.parametrize("name", ["missing", "schema"])
def test_field_of_every_kind_is_needed(path: Path, name: str) -> None:
    lacking = data()
    del lacking["done" if name == "missing" else name]
    said = refusal(path, lacking)
    assert said.endswith("done is missing" if name == "missing" else "is no whole thing")

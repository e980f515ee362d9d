from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.cli.values import NumberRange, parse_numbers, parse_pairs, parse_shapes
from graphopt.errors import UsageError
from tests.build import few


@pytest.mark.parametrize(
    ("text", "name", "shape"),
    [
        ("x:1,3,224,224", "x", (1, 3, 224, 224)),
        ("x=1,3", "x", (1, 3)),
        ("x:1x3x8", "x", (1, 3, 8)),
        ("serving_default_x:0:1,3", "serving_default_x:0", (1, 3)),
        ("serving_default_x:0=1,3", "serving_default_x:0", (1, 3)),
        ("a=b:2", "a=b", (2,)),
        ("x: 1, 3", "x", (1, 3)),
        ("x:0", "x", (0,)),
        ("x:", "x", ()),
        ("size:4", "size", (4,)),
    ],
)
def test_forms(text: str, name: str, shape: tuple[int, ...]) -> None:
    assert parse_shapes([text]) == {name: shape}


def test_several() -> None:
    assert parse_shapes(["x:1", "y:2,3"]) == {"x": (1,), "y": (2, 3)}


@pytest.mark.parametrize("text", ["", "x", ":1,2", "=1", "x:a", "x:1.5", "x:-1", "x:N,3", "x:1,²"])
def test_nonsense(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not NAME:d,d,\.\.\.") as caught:
        parse_shapes([text])
    assert caught.value.hint == "for example image:1,3,224,224"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("4", (4,)),
        ("1,4,2", (1, 4, 2)),
        (" 1 , 4 ", (1, 4)),
        ("4,1,4,04", (4, 1)),
        ("999999999", (999999999,)),
    ],
)
def test_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_numbers(text, "--batch", least=1) == numbers


def test_least_number_is_taken() -> None:
    assert parse_numbers("0,1", "--threads", least=0) == (0, 1)


@pytest.mark.parametrize(
    "text", ["", ",", "1,", ",1", "1,,2", "a", "1.5", "-1", "+1", "0", "1,0", "1 2", "²", "9" * 10]
)
def test_numbers_that_are_none(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_numbers(text, "--batch", least=1)
    assert str(caught.value) == f"--batch {text!r} is not N,N,..."
    assert caught.value.hint == "whole numbers from 1 on, as 1,4"


@few
@given(st.lists(st.integers(0, 10**9 - 1), min_size=1, max_size=5))
def test_numbers_are_read_as_they_were_written(numbers: list[int]) -> None:
    found = parse_numbers(",".join(map(str, numbers)), "--threads", least=0)
    assert found == tuple(dict.fromkeys(numbers))


@pytest.mark.parametrize(
    ("texts", "pairs"),
    [
        ([], {}),
        (["a=1"], {"a": "1"}),
        (["session.x=a=b", "y="], {"session.x": "a=b", "y": ""}),
        (["a=1", "a=2"], {"a": "2"}),
        (["path=/a, b"], {"path": "/a, b"}),
    ],
)
def test_pairs(texts: list[str], pairs: dict[str, str]) -> None:
    assert parse_pairs(texts, "--session") == pairs


@pytest.mark.parametrize("text", ["", "a", "=", "=1", "a:1"])
def test_pairs_that_are_none(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_pairs(["fine=1", text], "--session")
    assert str(caught.value) == f"--session {text!r} is not KEY=VALUE"


def test_a_range_of_numbers_holds_no_nan() -> None:
    seconds = NumberRange(min=0, max=10, min_open=True)
    assert seconds.convert("2.5", None, None) == 2.5
    for text in ("nan", "NaN", "0", "-1", "11", "inf", "soon"):
        with pytest.raises(click.BadParameter):
            seconds.convert(text, None, None)

from __future__ import annotations

from typing import Any

import pytest

from graphopt.engine.options import make_pass, option_types, parse_pass
from graphopt.engine.registry import find
from graphopt.errors import UsageError
from tests.engine.conftest import Install
from tests.engine.third_party import KNOBS


@pytest.fixture(autouse=True)
def knobs(third_party: Install) -> None:
    third_party("acme", "acme_passes", {"tune_knobs.py": KNOBS})


def value_of(key: str, given: object) -> Any:
    return getattr(make_pass("tune_knobs", {key: given}), key.replace("-", "_"))


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("count", 3, 3),
        ("count", "3", 3),
        ("ratio", 0.25, 0.25),
        ("ratio", 1, 1.0),
        ("ratio", "1e-3", 0.001),
        ("fast", True, True),
        ("fast", "true", True),
        ("fast", "off", False),
        ("label", "8", "8"),
        ("axis", "channel", "channel"),
        ("bits", 4, 4),
        ("bits", "4", 4),
        ("limit", 7, 7),
        ("limit", "7", 7),
        ("limit", "none", None),
        ("scale", "none", None),
        ("scale", 2, 2.0),
        ("sizes", [1, 2], (1, 2)),
        ("sizes", "1+2", (1, 2)),
        ("sizes", "3", (3,)),
    ],
)
def test_value_is_converted_to_its_field(key: str, given: object, value: object) -> None:
    got = value_of(key, given)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("count", "three"),
        ("count", "1.5"),
        ("count", 1.5),
        ("count", True),
        ("ratio", "much"),
        ("ratio", True),
        ("fast", 1),
        ("fast", "maybe"),
        ("label", 8),
        ("axis", "row"),
        ("bits", 5),
        ("limit", "few"),
        ("sizes", 3),
        ("sizes", "x"),
    ],
)
def test_wrong_value_names_pass_and_option(key: str, given: object) -> None:
    with pytest.raises(UsageError) as caught:
        value_of(key, given)
    assert "tune_knobs" in str(caught.value)
    assert key in str(caught.value)
    assert str(given) in str(caught.value)


def test_literal_lists_the_choices() -> None:
    with pytest.raises(UsageError) as caught:
        value_of("axis", "row")
    assert caught.value.hint == "one of: channel, tensor"


def test_unknown_option_suggests_the_closest() -> None:
    with pytest.raises(UsageError, match="no option 'ratoi'") as caught:
        value_of("ratoi", 1)
    assert caught.value.hint == "did you mean ratio?"


def test_option_of_a_pass_without_any() -> None:
    with pytest.raises(UsageError) as caught:
        make_pass("eliminate_identity", {"depth": 1})
    assert caught.value.hint == "it has no options"


def test_the_name_of_a_pass_is_no_option() -> None:
    assert set(option_types(find("fold_constants").load())) == {"max_growth_bytes", "max_bytes"}


def test_refusal_of_the_pass_itself() -> None:
    with pytest.raises(UsageError, match="count is negative") as caught:
        make_pass("tune_knobs", {"count": -1})
    assert caught.value.pass_name == "tune_knobs"


def test_parse_pass() -> None:
    assert parse_pass("a_b") == ("a_b", {})
    assert parse_pass("a_b:x=1,y = two=2 ") == ("a_b", {"x": "1", "y": "two=2"})


@pytest.mark.parametrize("text", ["a_b:x", "a_b:=1", "a_b:x=1,y"])
def test_parse_pass_wants_key_and_value(text: str) -> None:
    with pytest.raises(UsageError, match="is not key=value"):
        parse_pass(text)

"""Names of a hostile model on their way to a terminal."""

from __future__ import annotations

import pytest

from graphopt.report import Check, Verification
from graphopt.report.printable import cleaned, printable
from graphopt.report.text import plain, render_verification


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("conv1/weight:0", "conv1/weight:0"),
        ("Größe 名前", "Größe 名前"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nerror: forged", "a\\nerror: forged"),
        ("\u202etxt", "\\u202etxt"),
        ("\ud800", "\\ud800"),
        ("back\\slash", "back\\slash"),
    ],
)
def test_printable(text: str, expected: str) -> None:
    assert printable(text) == expected
    assert printable(expected) == expected


def test_a_whole_record() -> None:
    outcome = Verification(
        "failed", "none", checks=(Check("y\x1b]0;owned\x07", "failed", "a\nb"),), note="\r"
    )
    found = cleaned(outcome)
    assert found.checks == (Check("y\\x1b]0;owned\\x07", "failed", "a\\nb"),)
    assert (found.note, found.status) == ("\\r", "failed")
    assert outcome.note == "\r"


def test_mappings_and_numbers() -> None:
    assert cleaned({"\x1b": [1, None, ("\x07", 2.5)]}) == {"\\x1b": [1, None, ("\\x07", 2.5)]}


def test_what_is_printed_is_clean() -> None:
    outcome = Verification("failed", "none", checks=(Check("y\x1b[2J\nok", "failed", "far off"),))
    text = plain(render_verification(outcome))
    assert "\x1b" not in text
    assert "y\\x1b[2J\\nok: failed far off" in text

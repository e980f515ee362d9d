from __future__ import annotations

import pytest

from graphopt.report import RequirementOutcome
from graphopt.report.markdown import to_markdown
from tests.report.samples import report, stats, verification


@pytest.mark.parametrize("status", ["verified", "unverified", "failed"])
def test_first_line_has_the_status(status: str) -> None:
    first = to_markdown(report(status=status)).splitlines()[0]
    assert first.startswith("# in.onnx: ")
    assert status in first.lower()


def test_model_in_memory() -> None:
    assert to_markdown(report(source=None)).startswith("# model: verified")


def test_numbers_before_and_after() -> None:
    text = to_markdown(report())
    assert "| nodes | 1,234 | 1,000 |" in text
    assert "| peak activation bytes | unknown | unknown |" in text


def test_passes_and_refusals() -> None:
    assert "| fuse_conv_batchnorm | 19 | 3 x conv output has 2 readers; 1 x odd |" in to_markdown(
        report()
    )


def test_every_table_row_has_the_cells_of_its_head() -> None:
    cells = 0
    for line in to_markdown(report()).splitlines():
        count = line.replace("\\|", "").count("|")
        assert not count or not cells or count == cells
        cells = count


def test_requirements() -> None:
    unmet = RequirementOutcome("macs_ratio < 1", "macs_ratio", None, None, "unknown | odd")
    text = to_markdown(report(requirements=(*report().requirements, unmet)))
    assert text.startswith("# in.onnx: verified, 1 of 2 requirements not met\n")
    assert "| `nodes_ratio <= 0.9` | met, 0.81 |\n" in text
    assert "| `macs_ratio < 1` | NOT MEASURED (unknown \\| odd) |\n" in text


def test_nothing_required_nothing_said() -> None:
    assert "requirement" not in to_markdown(report(requirements=()))


def test_warnings_come_last() -> None:
    assert to_markdown(report()).endswith("- warning: left out: one\n")


def test_why_nothing_was_compared() -> None:
    outcome = verification(status="not verified", method="none", note="it does not run", checks=())
    assert "it does not run" in to_markdown(report(status="unverified", verification=outcome))


def test_both_losses_are_shown() -> None:
    text = to_markdown(report())
    assert "42.5 dB" in text


def test_unknown_sizes_read_unknown() -> None:
    assert "| MACs | unknown |" in to_markdown(report(before=stats(macs=None)))

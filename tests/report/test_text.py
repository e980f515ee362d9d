from __future__ import annotations

import pytest

from graphopt.report import RequirementOutcome
from graphopt.report.text import number, plain, render_report, render_stats, render_verification
from tests.report.samples import report, stats, verification

NOT_RUN = verification(status="not verified", method="none", inputs=0, checks=(), losses=(),
                       note="the original does not run")  # fmt: skip


def shown(**changes: object) -> list[str]:
    return plain(render_report(report(**changes)), width=160).splitlines()


def test_status_comes_first() -> None:
    assert shown()[0].startswith("in.onnx: verified; recipe exact, 1.2 s -> out.onnx")


def test_unverified_comes_first_with_its_reason() -> None:
    first = shown(status="unverified", verification=NOT_RUN, output=None)[0]
    assert first.startswith("in.onnx: UNVERIFIED (the original does not run)")


def test_failed_comes_first() -> None:
    assert shown(status="failed")[0].startswith("in.onnx: FAILED")


def test_nothing_to_change_is_said() -> None:
    assert "nothing to change" in shown(changed=False)[0]


def test_sizes_before_after_and_ratio() -> None:
    (nodes,) = [line for line in shown() if line.startswith("nodes ")]
    assert nodes.split() == ["nodes", "1,234", "1,000", "0.810"]
    (peak,) = [line for line in shown() if line.startswith("peak activation")]
    assert peak.split()[-2:] == ["unknown", "unknown"]


def test_requirements_are_shown() -> None:
    outcomes = (
        RequirementOutcome("nodes_ratio <= 0.9", "nodes_ratio", 0.25, True),
        RequirementOutcome("snr_db >= 40", "snr_db", 10.5, False, "optimisations all"),
        RequirementOutcome("macs_ratio < 1", "macs_ratio", None, None, "unknown for the result"),
    )
    lines = shown(requirements=outcomes)
    assert lines[0].startswith("in.onnx: verified, 2 of 3 requirements not met; recipe")
    assert [line for line in lines if line.startswith("requirement ")] == [
        "requirement nodes_ratio <= 0.9: met, 0.25",
        "requirement snr_db >= 40: NOT MET, 10.5 (optimisations all)",
        "requirement macs_ratio < 1: NOT MEASURED (unknown for the result)",
    ]


def test_one_requirement_is_singular() -> None:
    outcome = RequirementOutcome("size_ratio < 1", "size_ratio", 1.0, False)
    assert "1 of 1 requirement not met" in shown(requirements=(outcome,))[0]


def test_warnings_are_shown() -> None:
    assert "warning: left out: one" in shown()


def test_failures_are_shown_and_what_is_fine_is_not() -> None:
    lines = plain(render_verification(verification())).splitlines()
    assert lines[0].startswith("verification: ok, 3 generated input sets, onnxruntime")
    assert not any(line.startswith("  y:") for line in lines)
    assert any(line.startswith("  z|w: failed max relative difference inf") for line in lines)


def test_verbose_shows_all() -> None:
    lines = plain(render_verification(verification(), verbose=True)).splitlines()
    assert any(line.startswith("  y: ok") for line in lines)


def test_given_data_is_said() -> None:
    assert "3 given input sets" in plain(render_verification(verification(generated=False)))


def test_losses_are_shown() -> None:
    text = plain(render_verification(verification()))
    assert "loss (optimisations off): inf dB, top-1 agreement 1.0000" in text
    assert "loss (optimisations all): 42.5 dB" in text


def test_refusals_are_cut_short_unless_verbose() -> None:
    text = "\n".join(shown())
    assert "3 x conv output has 2 readers; 1 more" in text
    verbose = plain(render_report(report(), verbose=True), width=160)
    assert "3 x conv output has 2 readers; 1 x odd" in verbose


@pytest.mark.parametrize("name", ["[bold]x[/bold]", "[/]", "a[0]", ":smile:"])
def test_names_are_no_markup(name: str) -> None:
    assert shown(source=name)[0].startswith(f"{name}: verified")
    outcome = verification(note=name)
    assert name in plain(render_verification(outcome))
    assert name in plain(render_stats(stats(ops={name: 1}), name))


def test_refusal_with_brackets_is_no_markup() -> None:
    one = report()
    stage = one.stages[0]
    result = type(stage.passes[0])("p", 0, {"shape [1, 2] [/x]": 1}, 0.0)
    changed = type(stage)(1, True, (result,), stage.verification)
    assert "shape [1, 2] [/x]" in "\n".join(shown(stages=(changed,)))


def test_plain_is_ascii_and_has_no_trailing_blanks() -> None:
    for line in shown():
        assert line.isascii()
        assert line == line.rstrip()


def test_stats() -> None:
    lines = plain(render_stats(stats(), "m.onnx"), width=160).splitlines()
    assert lines[0] == "m.onnx"
    assert "IR version, opsets       8; ai.onnx 17" in lines
    assert any(line.startswith("operators") and "Conv 20, Relu 19" in line for line in lines)
    assert any(line.startswith("counted at") and "x 1x3x32x32" in line for line in lines)


@pytest.mark.parametrize(
    ("value", "text"), [(None, "unknown"), (0, "0"), (1234567, "1,234,567"), (0.5, "0.5000")]
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text

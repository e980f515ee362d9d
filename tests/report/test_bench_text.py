from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest

from graphopt.report.bench import BenchReport, NodeTime, PlacedNode, Placement
from graphopt.report.bench_text import by_op, macs_words, render_bench
from graphopt.report.text import plain
from tests.report.bench_reports import (
    CPU,
    CUDA,
    sample_arm,
    sample_candidate,
    sample_case,
    sample_cuda_case,
    sample_report,
)


def shown(report: BenchReport | None = None, width: int = 160, *, verbose: bool = False) -> str:
    return plain(render_bench(report or sample_report(), verbose=verbose), width=width)


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def alone(*arms: Any, **changes: Any) -> BenchReport:
    """A report of one case, of the given arms."""
    case = sample_case(arms=list(arms) or sample_case().arms, **changes)
    return sample_report(cases=[case], requirements=[])


def test_what_came_of_it_comes_first() -> None:
    assert shown().splitlines()[0] == (
        "net.onnx and 2 other models, 2 cases, 61.5 s; of 4 requirements: 1 not met, 2 inconclusive"
    )
    met = sample_report(requirements=sample_report().requirements[:1])
    assert shown(met).splitlines()[0].endswith("61.5 s; every requirement met")
    assert shown(alone()).splitlines()[0] == "net.onnx and 2 other models, 1 case, 61.5 s"


def test_case_has_one_table_where_there_is_room() -> None:
    lines = shown().splitlines()
    start = lines.index("CPUExecutionProvider, 2 threads, batch 4")
    assert lines[start + 1].startswith("x 4x3x32x32; blocks of 8 calls")
    assert [line.split() for line in lines[start + 2 : start + 5]] == [
        ["model", "p50", "ms", "p90", "ms", "p99", "ms", "mean", "ms", "rows/s", "GFLOP/s",
         "outliers", "CPU", "ratio", "SNR", "dB", "ratio", "verdict"],
        ["net.onnx", "10.00", "11.00", "13.00", "10.20", "400.0", "8.160", "3",
         "-", "-", "-", "-"],
        ["smaller/net.onnx", "8.000", "8.800", "10.40", "8.160", "500.0", "10.20", "3",
         "0.808", "[0.792,", "0.824]", "inf", "0.800", "[0.784,", "0.816]", "faster"],
    ]  # fmt: skip
    assert lines[start + 6].startswith("reference against itself: 1.002 [0.996, 1.008], CPU clock")


def test_narrow_case_has_verdicts_apart_from_times() -> None:
    found = words(shown(width=80))
    verdict = ["smaller/net.onnx", "0.808", "[0.792,", "0.824]", "inf", "0.800", "[0.784,",
               "0.816]", "faster"]  # fmt: skip
    times = ["smaller/net.onnx", "8.000", "8.800", "10.40", "8.160", "500.0", "10.20", "3"]
    assert found.index(verdict) < found.index(times)


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_nothing_of_a_row_is_cut_off(width: int) -> None:
    text = shown(width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for needed in ("0.800 [0.784, 0.816]", "1.010 [0.990, 1.030]", "20,500,000", "700,000,000"):
        assert needed in text


def test_long_names_are_folded_not_cut() -> None:
    name = "models/" + "abcdefgh" * 12 + ".onnx"
    text = shown(alone(sample_arm(), sample_candidate(name, 0.5, "faster")), width=80)
    assert "0.500 [0.490, 0.510]" in text
    assert name.removeprefix("models/abcdefgh")[-20:] in "".join(text.split())


def test_reference_alone() -> None:
    text = shown(alone(sample_arm()))
    assert "verdict" not in text
    assert ["net.onnx", "10.00", "11.00", "13.00", "10.20", "400.0", "8.160", "3"] in words(text)


def test_startup_and_memory() -> None:
    found = words(shown())
    assert ["net.onnx", "42.50", "17.00", "43.25", "16.00", "5"] in found
    assert ["net.onnx", "12,000,000", "20,500,000", "8,388,608"] in found
    assert ["same.onnx", "-"] in found  # no memory known on CUDA
    bare = shown(alone(sample_arm(startup=None, memory=None)))
    assert "cold" not in bare
    assert "arena" not in bare


def test_placement_on_one_provider_is_one_line() -> None:
    assert shown(alone()).count("placement") == 1
    assert "placement: every node on CPUExecutionProvider\n" in shown(alone())


def test_nodes_off_the_provider_are_listed() -> None:
    lines = shown().splitlines()
    at = lines.index(
        "placement of same.onnx: 19 on CUDAExecutionProvider, 2 on CPUExecutionProvider; "
        "elsewhere 0.00 % of MACs and 0.05 % of bytes"
    )
    assert lines[at + 1 : at + 3] == [
        "  Shape shape7 on CPUExecutionProvider: unknown MACs, 64 bytes",
        "  Gather gather8 on CPUExecutionProvider: 0 MACs, 128 bytes",
    ]


def test_unknown_placement_is_not_said_to_be_anywhere() -> None:
    assert "placement" not in shown(alone(sample_arm(placement=None)))
    mixed = shown(alone(sample_arm(), sample_candidate("b.onnx", 1.0, "same", placement=None)))
    assert "every node" not in mixed
    assert "placement of net.onnx: 21 on CPUExecutionProvider\n" in mixed


def test_many_nodes_elsewhere_are_listed_in_full_when_verbose() -> None:
    nodes = [PlacedNode(f"n{i}", "Cast", CPU, 1, 1) for i in range(20)]
    arm = sample_arm(placement=Placement({CPU: 20, CUDA: 1}, None, None, nodes))
    report = alone(arm, provider=CUDA)
    brief = shown(report)
    assert "elsewhere unknown share of MACs and unknown share of bytes" in brief
    assert brief.count("  Cast n") == 8
    assert "  and 12 more\n" in brief
    assert shown(report, verbose=True).count("  Cast n") == 20


def test_profile_by_operator_and_by_node() -> None:
    text = shown()
    assert "profile of net.onnx: Conv 92.5 %, Relu 7.5 %\n" in text
    assert ["conv2", "Conv", CPU, "600", "2,000", "30.0", "%"] in words(text)


def test_long_profile_is_whole_when_verbose() -> None:
    profile = [NodeTime(f"node{i}", "Mul", CPU, 1, 1.0, 0.05) for i in range(20)]
    report = alone(sample_arm(profile=profile))
    assert "  and 12 more nodes\n" in shown(report)
    assert "node19" not in shown(report)
    assert "node19" in shown(report, verbose=True)
    assert "more nodes" not in shown(report, verbose=True)


def test_shares_by_operator_come_largest_first() -> None:
    shares = [("A", 0.1), ("B", 0.5), ("A", 0.3), ("C", 0.1)]
    profile = [NodeTime("n", op, CPU, 1, 1.0, share) for op, share in shares]
    assert list(by_op(profile)) == ["B", "A", "C"]
    assert by_op(profile)["A"] == pytest.approx(0.4)
    assert by_op([]) == {}


def test_p99_has_its_interval_when_verbose() -> None:
    assert "13.00 [12.00, 14.50]" in shown(verbose=True)
    assert "13.00 [12.00, 14.50]" not in shown()


def test_requirements() -> None:
    lines = [line for line in shown(width=300).splitlines() if line.startswith("requirement ")]
    cpu = "CPUExecutionProvider, 2 threads, batch 4"
    assert len(lines) == 4
    assert lines[0] == (
        f"requirement latency_ratio <= 0.9, smaller/net.onnx, {cpu}: met, 0.800 [0.784, 0.816]"
    )
    assert lines[3] == f"requirement p99_ms <= 15, same.onnx, {cpu}: INCONCLUSIVE, not measured"


def test_notes_models_and_machine() -> None:
    lines = shown().splitlines()
    assert "note: the load of the machine was 1.5 when it began" in lines
    row = ["smaller/net.onnx", "600,000", "270,000", "21", "40,800,000", "bbbbbbbbbbbb"]
    assert row in [line.split() for line in lines]
    assert lines[-2:] == [
        "session: session.intra_op.allow_spinning=0",
        "started 2026-01-02T03:04:05Z, seed 7",
    ]
    assert "session:" not in shown(dataclasses.replace(sample_report(), session={}))


def test_macs_at_each_shape() -> None:
    small, large = (sample_case(arms=[sample_arm(macs=m)]) for m in (1000, 4000))
    assert macs_words(sample_report(cases=[large, small]), "net.onnx") == "1,000, 4,000"
    assert macs_words(sample_report(cases=[sample_cuda_case()]), "none.onnx") == "-"


@pytest.mark.parametrize("name", ["[bold]x[/bold]", "[/]", ":smile:"])
def test_names_are_no_markup(name: str) -> None:
    node = NodeTime(name, name, name, 1, 1.0, 1.0)
    text = shown(alone(sample_arm(profile=[node]), sample_candidate(name, 1.0, "same"),
                       notes=[name]), width=300)  # fmt: skip
    assert text.count(name) >= 7


def test_control_characters_are_written_as_escapes() -> None:
    odd = "a\x1b[31m\nrequirement p99_ms < 1: met"
    lines = shown(alone(sample_arm(odd), notes=[odd]), width=300)
    assert "\x1b" not in lines
    assert not any(line.startswith("requirement") for line in lines.splitlines())


def test_plain_is_ascii_and_has_no_trailing_blanks() -> None:
    for verbose, width in itertools.product((False, True), (80, 160)):
        for line in shown(verbose=verbose, width=width).splitlines():
            assert line.isascii()
            assert line == line.rstrip()

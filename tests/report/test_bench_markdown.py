from __future__ import annotations

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from graphopt.report.bench_markdown import escaped, table, to_bench_markdown
from graphopt.report.bench_words import verdict_lines
from tests.build import few
from tests.report.bench_reports import sample_arm, sample_candidate, sample_case, sample_report

ALONE = sample_report(cases=[sample_case()], requirements=[])


def named(name: str) -> str:
    """A report of a model of that name."""
    arms = [sample_arm(), sample_candidate(name, 0.5, "faster")]
    case = sample_case(arms=arms, notes=[name])
    return to_bench_markdown(sample_report(cases=[case], requirements=[]))


def test_verdicts_come_first() -> None:
    lines = to_bench_markdown(ALONE).splitlines()
    assert lines[:5] == [
        "# Benchmark of net.onnx",
        "",
        r"- smaller/net.onnx is faster than net.onnx: 0.800 \[0.784, 0.816\] of its time",
        r"- same.onnx is as fast as net.onnx: 1.000 \[0.980, 1.020\] of its time",
        "",
    ]


def test_unmet_requirements_are_in_the_first_line() -> None:
    assert to_bench_markdown(sample_report()).startswith(
        "# Benchmark of net.onnx: of 4 requirements: 1 not met, 2 inconclusive\n"
    )


def test_table_is_compact() -> None:
    text = to_bench_markdown(ALONE)
    assert (
        "| model | p50 ms | p99 ms | rows/s | SNR dB | ratio | verdict |\n"
        "| --- | --: | --: | --: | --: | --: | --: |\n"
        "| net.onnx | 10.00 | 13.00 | 400.0 | - | - | - |\n"
        "| smaller/net.onnx | 8.000 | 10.40 | 500.0 | inf | 0.800 \\[0.784, 0.816\\] | faster |\n"
    ) in text


def test_requirements_are_a_table() -> None:
    text = to_bench_markdown(sample_report())
    cpu = "CPUExecutionProvider, 2 threads, batch 4"
    assert f"| `p99_ms <= 15` | same.onnx, {cpu} | INCONCLUSIVE, not measured |\n" in text
    assert "requirement" not in to_bench_markdown(ALONE)


def test_details_are_folded() -> None:
    text = to_bench_markdown(sample_report())
    assert text.count("<details><summary>") == text.count("</details>") == 3
    before, _, folded = text.partition("<details>")
    for detail in ("CPU ratio", "arena bytes", "profile of net.onnx", "Some CPU 9000"):
        assert detail in folded
        assert detail not in before


def test_floor_and_notes_are_not_folded() -> None:
    before = to_bench_markdown(ALONE).partition("<details>")[0]
    assert "reference against itself: 1.002" in before
    assert "- note: the load of the machine was 1.5 when it began" in before


def test_every_table_row_has_the_cells_of_its_head() -> None:
    cells = 0
    for line in named("a|b").splitlines():
        count = line.replace("\\|", "").count("|") if line.startswith("|") else 0
        assert not count or not cells or count == cells
        cells = count


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=12))
@example("</details>")
@example("`a` *b* [c](d) <img src=x> & &amp; a|b \\| ~~s~~")
@few
def test_names_read_as_they_are(name: str) -> None:
    text = f"x{name}y"
    (inline,) = [token for token in MarkdownIt("gfm-like", {"linkify": False}).parse(escaped(text))
                 if token.type == "inline"]  # fmt: skip
    plain = "".join(child.content for child in inline.children or [])
    assert plain == text
    assert not [child for child in inline.children or [] if child.type.endswith("_open")]


@pytest.mark.parametrize("name", ["</details>", "<script>alert(1)</script>", "a\n# b", "```"])
def test_names_make_no_markup_anywhere(name: str) -> None:
    tokens = MarkdownIt("commonmark").parse(named(name))
    html = [token.content.strip() for token in tokens if token.type == "html_block"]
    assert [line for line in html if not line.startswith("<details><summary>")] == [
        "</details>", "</details>"
    ]  # fmt: skip
    inline = [child.type for token in tokens for child in token.children or []]
    assert "html_inline" not in inline
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h1"]


def test_summary_is_escaped_for_html() -> None:
    odd = sample_case(provider_options={"a": "</summary>&"})
    text = to_bench_markdown(sample_report(cases=[odd], requirements=[]))
    assert "<summary>Measurements: CPUExecutionProvider (a=&lt;/summary&gt;&amp;), 2" in text


def test_table_edges() -> None:
    assert table(("a", "b"), [("", "1")]) == ["| a | b |", "| --- | --: |", "|   | 1 |"]


def test_reference_alone() -> None:
    report = dataclasses.replace(ALONE, cases=[sample_case(arms=[sample_arm()])])
    assert verdict_lines(report) == []
    assert "| model | p50 ms | p99 ms | rows/s |\n" in to_bench_markdown(report)

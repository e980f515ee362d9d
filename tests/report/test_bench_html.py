from __future__ import annotations

import base64
import dataclasses
import hashlib
import importlib.util
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from graphopt.errors import UsageError
from graphopt.report.bench import BenchModel, BenchReport, Interval
from graphopt.report.bench_html import to_html
from tests.report.bench_reports import (
    sample_arm,
    sample_candidate,
    sample_case,
    sample_environment,
    sample_report,
    sample_timing,
)
from tests.report.pages import Page

ODD = "</style></title></script><script>alert(1)</script><img src=https://x.invalid onerror=a>\"'&"
ROOT = Path(__file__).parents[2]
VOID = {"meta"}
ACTIVE = {"script", "img", "iframe", "object", "embed", "link", "base", "form", "image", "use"}


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(to_html(sample_report()))


def alone() -> BenchReport:
    """One model, and nothing measured but its times."""
    arm = sample_arm(profile=[], startup=None, memory=None, placement=None, cpu=None, gflops=None)
    arm = dataclasses.replace(arm, first_run_ms=None, session_ms=None, macs=None)
    case = sample_case(arms=[arm], floor=None, cpu_floor=None, notes=[])
    environment = sample_environment(devices=[])
    models = sample_report().models[:1]
    return sample_report(
        models=models, cases=[case], requirements=[], session={}, environment=environment
    )


def hostile(record: Any) -> Any:
    """The record with every text in it made hostile, but for those with few values."""
    if isinstance(record, str):
        return record if record in KEPT else f"{record}{ODD}"
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        fields = [field.name for field in dataclasses.fields(record) if field.init]
        return dataclasses.replace(record, **{n: hostile(getattr(record, n)) for n in fields})
    if isinstance(record, dict):
        return {hostile(key): hostile(value) for key, value in record.items()}
    return [hostile(item) for item in record] if isinstance(record, list) else record


KEPT = {
    "faster", "slower", "same", "inconclusive", "met", "not met", "time", "interval",
    "alternating", "closed loop", "open loop",
}  # fmt: skip


def test_page_is_whole(page: Page) -> None:
    assert page.text.startswith('<!DOCTYPE html>\n<html lang="en">')
    for tag in ("head", "body", "h1", "main", "style"):
        assert len(page.all(tag)) == 1, tag
    for tag in {tag for tag, _ in page.tags} - VOID:
        assert page.text.count(f"</{tag}>") == len(page.all(tag)), tag
    assert page.says("Benchmark of net.onnx")


def test_page_is_read_on_a_phone_and_in_the_dark(page: Page) -> None:
    assert page.all("meta", name="viewport") == [
        {"name": "viewport", "content": "width=device-width, initial-scale=1"}
    ]
    assert page.all("meta", name="color-scheme", content="light dark")
    assert "prefers-color-scheme: dark" in page.text


def check_harmless(page: Page) -> None:
    """Nothing that runs, nothing that is fetched, no style but the one of the policy."""
    tags = {tag for tag, _ in page.tags}
    assert not tags & ACTIVE
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        assert not {"src", "srcset", "style", "action", "data", "xlink:href"} & set(attributes), tag
        assert not any(name.startswith("on") for name in attributes), tag
        if "href" in attributes:
            assert attributes["href"].removeprefix("#") in ids
    style = page.text.partition("<style>")[2].partition("</style>")[0]
    assert not re.search(r"url\(|@import|https?:", style)


def test_page_fetches_and_runs_nothing(page: Page) -> None:
    check_harmless(page)
    assert "http:" not in page.text
    assert "https:" not in page.text


def test_policy_allows_the_one_style_alone(page: Page) -> None:
    style = page.text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    before = page.text.partition("<style>")[0]
    assert "Content-Security-Policy" in before


def test_every_plot_is_there_with_words_and_a_table(page: Page) -> None:
    assert page.kinds == ["ratios", "latency", "sizes", "operators", "latency", "sizes"]
    drawings = page.all("svg", role="img")
    assert len(drawings) == 6
    assert (
        "smaller/net.onnx, wall clock: 0.800 faster (0.784 to 0.816)" in drawings[0]["aria-label"]
    )
    figures = re.findall(r"<figure.*?</figure>", page.text, re.DOTALL)
    assert [(f.count("<figcaption>"), f.count("<table ")) for f in figures] == [(1, 1)] * 6


@pytest.mark.parametrize(
    "words",
    [
        "0.800 [0.784, 0.816]", "faster", "slower", "inconclusive", "CPU, 2 threads, batch 4",
        "13.00 [12.00, 14.50]", "Of 4 requirements: 1 not met, 2 inconclusive",
        "latency_ratio <= 0.9", "not measured", "the load of the machine was 1.5 when it began",
        "4x3x32x32", "reference against itself: 1.002 [0.996, 1.008]", "8,388,608", "43.25",
        "gather8", "Where the nodes ran", "19 on CUDA, 2 on CPU", "Nodes of net.onnx (3)", "conv1",
        "62.5 %", "bb" * 32, "models/net.onnx", "1,100,000", "Some CPU 9000", "Some GPU",
        "onnxruntime 1.24.1", "session.intra_op.allow_spinning", "Seed 7", "2026-01-02T03:04:05Z",
        "lost", "80.0 %",
    ],
)  # fmt: skip
def test_figures_and_conditions_are_said(page: Page, words: str) -> None:
    assert page.says(words)


def test_parts_that_are_empty_are_left_out() -> None:
    page = Page(to_html(alone()))
    assert page.kinds == ["latency"]
    for words in ("Requirements", "Memory", "Where the nodes ran", "Before and around the runs",
                  "Against the reference", "Session settings", "GFLOP/s", "Nodes of"):  # fmt: skip
        assert not page.says(words)
    assert "<tbody></tbody>" not in page.text
    assert "<ul></ul>" not in page.text
    assert '<ul class="notes"></ul>' not in page.text


def test_no_case() -> None:
    assert Page(to_html(sample_report(cases=[], requirements=[]))).kinds == []


def test_long_lists_say_what_is_left_out() -> None:
    node = sample_arm().profile[0]
    profile = [dataclasses.replace(node, name=f"conv{i}", op_type=f"Op{i}") for i in range(60)]
    page = Page(to_html(sample_report(cases=[sample_case(arms=[sample_arm(profile=profile)])],
                                      requirements=[])))  # fmt: skip
    assert page.says("Nodes of net.onnx (the first 40 of 60)")
    assert page.says("48 others")
    assert page.says("conv39")
    assert not page.says("conv40")


def test_names_are_text_and_nothing_else() -> None:
    """Hostile text in every place gives the tags of a harmless report, and is shown as it is."""
    text = to_html(hostile(sample_report()))
    page, plain = Page(text), Page(to_html(sample_report()))
    check_harmless(page)
    outside = {"svg", "g", "path", "line", "text", "rect"}
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in plain.tags}
    assert [t for t, _ in page.tags if t not in outside] == [
        t for t, _ in plain.tags if t not in outside
    ]
    for start in ("smaller/net.onnx", "gather8", "Conv", "latency_ratio <= 0.9", "Some GPU"):
        assert page.says(f"{start}{ODD}")


def test_what_does_not_print_is_escaped() -> None:
    name = "a\x1b[2J\u202eb\n\udcff.onnx"
    report = sample_report(
        models=[BenchModel(name, name, "aa", 1000, 1, 1)], reference=name, requirements=[],
        cases=[sample_case(arms=[sample_arm(name)])],
    )  # fmt: skip
    text = to_html(report)
    assert "Benchmark of a\\x1b[2J\\u202eb\\n\\udcff.onnx" in text
    assert not set(text) & {"\x1b", "\u202e", "\udcff"}
    text.encode("utf-8")


def test_equal_reports_give_equal_pages(page: Page) -> None:
    assert to_html(sample_report()) == page.text
    assert to_html(sample_report(seed=8)) != page.text


def test_another_process_gives_the_same_page(page: Page) -> None:
    code = (
        "import sys; from graphopt.report.bench_html import to_html; "
        "from tests.report.bench_reports import sample_report; "
        "sys.stdout.buffer.write(to_html(sample_report()).encode())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=environment,
        timeout=120, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout.decode() == page.text


def test_numbers_that_are_none_do_not_break_the_page() -> None:
    odd = sample_timing(p50_ms=math.nan, sample_ms=[math.inf, 1.0], p99_ms=Interval(1, 0, math.inf))
    wild = sample_candidate(
        "same.onnx", 1.0, "same", ratio=Interval(math.inf, 0, math.inf), wall=odd
    )
    page = Page(to_html(sample_report(cases=[sample_case(arms=[sample_arm(), wild])],
                                      requirements=[])))  # fmt: skip
    check_harmless(page)
    assert page.kinds == ["ratios", "latency", "operators"]
    assert page.says("inf")


def test_size_is_bounded() -> None:
    """Some kilobytes for a plot, however many calls were timed."""
    arms = [
        sample_arm(f"m{i}", wall=sample_timing(sample_ms=[9 + (j * (i + 1)) % 1000 / 500
                                                          for j in range(1000)]))
        for i in range(8)
    ]  # fmt: skip
    models = [BenchModel(arm.model, arm.model, "aa" * 32, 1000, 1, 1) for arm in arms]
    cases = [sample_case(arms=arms, threads=n) for n in range(4)]
    text = to_html(sample_report(models=models, cases=cases, reference="m0", requirements=[]))
    assert len(text) < 600_000


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="vl-convert-python") as caught:
        to_html(sample_report())
    assert caught.value.hint == "pip install 'graphopt[html]'"

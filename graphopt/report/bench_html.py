"""A benchmark's report as one HTML page: plots, and the tables beside them.

The page is built as a tree of elements, so that every name of a model is escaped on the way out. It
holds no script and no address, and its content policy forbids both.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from importlib import resources
from xml.etree import ElementTree as ET

from graphopt.report.bench import Arm, BenchReport, Case
from graphopt.report.bench_drawing import Plot
from graphopt.report.bench_operators import operator_times, short_provider
from graphopt.report.bench_plots import (
    latency_plot,
    operator_plot,
    size_plot,
)
from graphopt.report.bench_ratio_plot import case_labels, ratio_plot
from graphopt.report.bench_words import (
    MEMORY,
    NONE,
    RATIOS,
    STARTS,
    TIMES,
    Column,
    case_label,
    cells,
    conditions,
    environment_lines,
    floor_line,
    interval,
    present,
    quantity,
    unmet_words,
)
from graphopt.report.html_elements import Child, Row, element, table
from graphopt.report.printable import cleaned
from graphopt.report.text import number

_LISTED = 40
_OPERATORS = 12
_P99: Column = ("p99 ms", lambda arm: interval(arm.wall.p99_ms))
_TIMES = [_P99 if column[0] == _P99[0] else column for column in TIMES]
_TONES = {
    "faster": "good", "met": "good", "slower": "bad", "not met": "bad", "inconclusive": "open",
}  # fmt: skip


def to_html(report: BenchReport) -> str:
    """The report as one HTML page that needs nothing else, light or dark as the reader's system.

    Args:
        report: The benchmark. What it does not hold (a profile, a second model) has no part.

    Returns:
        The page; the same for an equal report and the same version of the drawing library.

    Raises:
        UsageError: The library that draws is not installed (the extra `html`).
    """
    report = cleaned(report)
    title = f"Benchmark of {report.reference}"
    style = resources.files("graphopt.report").joinpath("bench.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", style),
    )
    body = element("body", _header(report, title), element("main", *_sections(report)))
    page = element("html", head, body, lang="en")
    return "<!DOCTYPE html>\n" + ET.tostring(page, encoding="unicode", method="html") + "\n"


def _header(report: BenchReport, title: str) -> ET.Element:
    others = [model.name for model in report.models if model.name != report.reference]
    against = f"{', '.join(others)} against {report.reference}" if others else report.reference
    return element(
        "header",
        element("h1", title),
        element("p", against, class_="lead"),
        element("p", f"{report.started}, {report.seconds:.1f} s, on {report.environment.machine}"),
    )


def _sections(report: BenchReport) -> Iterator[ET.Element]:
    labels = case_labels(report.cases)
    yield _results(report, labels)
    if report.requirements:
        yield _requirements(report, labels)
    for i, case in enumerate(report.cases):
        yield element(
            "section", element("h2", case_label(case), id=f"case-{i + 1}"), *_case(report, case),
            aria_labelledby=f"case-{i + 1}",
        )  # fmt: skip
    yield _section("Models", _models(report))
    yield _section("Environment", *_environment(report))


def _section(title: str, *content: Child) -> ET.Element:
    return element("section", element("h2", title), *content)


def _results(report: BenchReport, labels: list[str]) -> ET.Element:
    rows: list[Row] = []
    for i, (label, case) in enumerate(zip(labels, report.cases, strict=True)):
        rows.append([element("a", label, href=f"#case-{i + 1}")])
        for arm in case.arms:
            ratio = "reference" if arm is case.reference else interval(arm.ratio)
            p50, p99 = quantity(arm.wall.p50_ms), quantity(arm.wall.p99_ms.value)
            rows.append([arm.model, ratio, _chip(arm.verdict), p50, p99])
    heads = ["model", "ratio [95 % interval]", "verdict", "p50 ms", "p99 ms"]
    words = (
        "A ratio is the time of a model over the time of the reference, measured in turns: below 1 "
        "is faster. The noise floor is the reference against itself, which is what no difference "
        "looks like."
    )
    summary = table("Results", heads, rows, text_columns=(0, 2))
    plot = ratio_plot(report)
    if plot is None:
        return _section("Results", summary)
    return _section("Results", element("p", words), _figure(plot, summary))


def _chip(word: str | None) -> Child:
    return None if word is None else element("span", word, class_=f"chip {_TONES.get(word, '')}")


def _figure(plot: Plot, *tables: Child) -> ET.Element:
    plot.svg.attrib.update({"role": "img", "aria-label": plot.description})
    caption = element("figcaption", plot.title)
    keys = [element("li", drawing, name) for name, drawing in plot.keys]
    legend = element("ul", *keys, class_="legend") if len(keys) > 1 else None
    drawing = element("div", legend, plot.svg)
    return element("figure", caption, drawing, *tables, class_=plot.kind)


def _requirements(report: BenchReport, labels: list[str]) -> ET.Element:
    rows: list[Row] = [
        [element("code", row.text), row.model, labels[row.case], _chip(row.outcome),
         "not measured" if row.measured is None else interval(row.measured)]
        for row in report.requirements
    ]  # fmt: skip
    heads = ["condition", "model", "case", "outcome", "measured"]
    words = unmet_words(report) or "Every requirement is met."
    return _section(
        "Requirements",
        element("p", words[0].upper() + words[1:]),
        table("Requirements", heads, rows, text_columns=range(4)),
    )


def _case(report: BenchReport, case: Case) -> Iterator[ET.Element]:
    yield element("p", conditions(case))
    yield element("p", floor_line(case))
    if case.notes:
        yield element("ul", *(element("li", note) for note in case.notes), class_="notes")
    times = _arms("Times of calls", _TIMES, case)
    latency = latency_plot(case)
    yield times if latency is None else _figure(latency, times)
    if sizes := size_plot(report, case):
        yield _figure(sizes, _sizes(report, case))
    if operators := operator_plot(case):
        yield _figure(operators, _operators(case))
    for caption, columns, arms in (
        ("Against the reference", RATIOS, case.arms[1:]),
        ("Before and around the runs", STARTS, case.arms),
        ("Memory", MEMORY, case.arms),
    ):
        if present(columns, arms):
            yield element("h3", caption)
            yield _arms(caption, columns, case, arms)
    yield from _placement(case)
    yield from _nodes(case)


def _arms(
    caption: str, columns: Sequence[Column], case: Case, arms: Sequence[Arm] | None = None
) -> ET.Element:
    """A table with a row for each model and the columns that any of them has a value in."""
    arms = case.arms if arms is None else arms
    found = present(columns, arms)
    rows: list[Row] = [[arm.model, *cells(found, arm)] for arm in arms]
    return table(caption, ["model", *(head for head, _ in found)], rows)


def _sizes(report: BenchReport, case: Case) -> ET.Element:
    rows: list[Row] = [
        [arm.model, number(report.model(arm.model).file_bytes), quantity(arm.wall.p50_ms)]
        for arm in case.arms
    ]
    return table("Size and time", ["model", "file bytes", "p50 ms"], rows)


def _operators(case: Case) -> ET.Element:
    rows: list[Row] = []
    for arm in case.arms:
        times = operator_times(arm.profile)
        if times:
            rows.append([arm.model])
        rows += [
            [row.op_type, short_provider(row.provider), number(row.nodes), quantity(row.run_ms),
             f"{100 * row.share:.1f} %"]
            for row in times[:_OPERATORS]
        ]  # fmt: skip
        if rest := times[_OPERATORS:]:
            nodes, run = sum(row.nodes for row in rest), sum(row.run_ms for row in rest)
            share = f"{100 * sum(row.share for row in rest):.1f} %"
            rows.append([f"{len(rest)} others", None, number(nodes), quantity(run), share])
    heads = ["operator", "provider", "nodes", "ms of one run", "share"]
    return table("Time by operator", heads, rows, text_columns=range(2))


def _placement(case: Case) -> Iterator[ET.Element]:
    known = [(arm.model, arm.placement) for arm in case.arms if arm.placement is not None]
    if not known:
        return
    yield element("h3", "Where the nodes ran")
    rows: list[Row] = [
        [model, ", ".join(f"{n} on {short_provider(p)}" for p, n in placement.nodes.items()),
         _percent(placement.macs_elsewhere), _percent(placement.bytes_elsewhere)]
        for model, placement in known
    ]  # fmt: skip
    heads = ["model", "nodes", "MACs elsewhere", "bytes elsewhere"]
    yield table("Placement", heads, rows, text_columns=range(2))
    rows = [
        [model, node.name, node.op_type, short_provider(node.provider), number(node.macs),
         number(node.bytes)]
        for model, placement in known for node in placement.elsewhere[:_LISTED]
    ]  # fmt: skip
    if rows:
        total = sum(len(placement.elsewhere) for _, placement in known)
        heads = ["model", "node", "operator", "ran on", "MACs", "bytes"]
        what = f"Nodes that ran elsewhere than on {short_provider(case.provider)}"
        yield _details(what, len(rows), total, table(what, heads, rows, text_columns=range(4)))


def _nodes(case: Case) -> Iterator[ET.Element]:
    for arm in case.arms:
        rows: list[Row] = [
            [node.name, node.op_type, short_provider(node.provider), number(node.calls),
             quantity(node.mean_us), f"{100 * node.share:.1f} %"]
            for node in arm.profile[:_LISTED]
        ]  # fmt: skip
        if rows:
            what = f"Nodes of {arm.model}"
            heads = ["node", "operator", "provider", "calls", "mean us", "share"]
            shown = table(what, heads, rows, text_columns=range(3))
            yield _details(what, len(rows), len(arm.profile), shown)


def _details(what: str, shown: int, total: int, content: ET.Element) -> ET.Element:
    count = f"{shown}" if shown == total else f"the first {shown} of {total}"
    return element("details", element("summary", f"{what} ({count})"), content)


def _percent(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.2f} %"


def _models(report: BenchReport) -> ET.Element:
    rows: list[Row] = [
        [model.name, number(model.file_bytes), number(model.parameters), number(model.nodes),
         model.path, element("code", model.sha256, class_="digest")]
        for model in report.models
    ]  # fmt: skip
    heads = ["model", "file bytes", "parameters", "nodes", "path", "sha256"]
    return table("Models", heads, rows, text_columns=(0, 4, 5))


def _environment(report: BenchReport) -> Iterator[ET.Element]:
    yield element("ul", *(element("li", line) for line in environment_lines(report.environment)))
    rows: list[Row] = [[element("code", k), v] for k, v in report.session.items()]
    if rows:
        yield element("h3", "Session settings")
        yield table("Session settings", ["setting", "value"], rows, text_columns=range(2))
    yield element("p", f"Seed {report.seed}; schema {report.schema}.", class_="small")

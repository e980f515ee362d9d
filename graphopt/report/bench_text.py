"""A benchmark's report for people: rich renderables for a terminal, plain text elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from graphopt.report.bench import Arm, BenchReport, Case, NodeTime
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
    outcome_words,
    present,
    quantity,
    requirement_place,
    size,
    unmet_words,
)
from graphopt.report.printable import cleaned
from graphopt.report.text import number

_LISTED = 8
_ANY_WIDTH = 10_000
_STYLES = {
    "faster": "green",
    "slower": "red",
    "inconclusive": "yellow",
    "met": "green",
    "not met": "red",
}


def render_bench(report: BenchReport, *, verbose: bool = False) -> RenderableType:
    """The whole report: what came of it, each case, the requirements, what was timed, and where.

    Args:
        report: The benchmark.
        verbose: Every node of a profile and of a placement, and the interval of each p99.
    """
    report = cleaned(report)
    parts: list[RenderableType] = [_headline(report)]
    for case in report.cases:
        parts += [Text(""), render_case(case, verbose=verbose)]
    if report.requirements:
        parts += [Text(""), *_requirements(report)]
    return Group(*parts, Text(""), render_models(report))


class Fitting:
    """The first of two renderables where it fits the width, else the second."""

    def __init__(self, wide: RenderableType, narrow: RenderableType) -> None:
        self.wide = wide
        self.narrow = narrow

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Choose by the width that the wide one would take."""
        wanted = Measurement.get(console, options.update(width=_ANY_WIDTH), self.wide).maximum
        yield self.wide if wanted <= options.max_width else self.narrow


def _headline(report: BenchReport) -> Text:
    others = len(report.models) - 1
    text = Text(f"{report.reference} and {size(others, 'other model')}, ")
    text.append(f"{size(len(report.cases), 'case')}, {report.seconds:.1f} s")
    if unmet := unmet_words(report):
        text.append(f"; {unmet}", style=_STYLES[report.outcome])
    elif report.requirements:
        text.append("; every requirement met", style=_STYLES["met"])
    return text


def render_case(case: Case, *, verbose: bool = False) -> RenderableType:
    """One case: its conditions, its tables, and what a reader should know.

    Args:
        case: Every text in it printable.
        verbose: As for the whole report.
    """
    return Group(*_parts(case, verbose=verbose))


def render_models(report: BenchReport) -> RenderableType:
    """What was timed, and where.

    Args:
        report: The benchmark, every text in it printable.
    """
    parts: list[RenderableType] = [_models(report)]
    parts += map(Text, environment_lines(report.environment))
    if report.session:
        settings = ", ".join(f"{name}={value}" for name, value in report.session.items())
        parts.append(Text(f"session: {settings}"))
    return Group(*parts, Text(f"started {report.started}, seed {report.seed}"))


def _parts(case: Case, *, verbose: bool) -> Iterator[RenderableType]:
    yield Text(case_label(case), style="bold")
    yield Text(conditions(case))
    times = present(TIMES, case.arms)
    if verbose:
        times = [("p99 ms", _p99) if head == "p99 ms" else (head, cell) for head, cell in times]
    ratios = present(RATIOS, case.arms)
    apart = [*([_arms(ratios, case.arms[1:])] if ratios else []), _arms(times, case.arms)]
    yield Fitting(_arms([*times, *ratios], case.arms), Group(*apart))
    yield Text(floor_line(case))
    for columns in (STARTS, MEMORY):
        if found := present(columns, case.arms):
            yield _arms(found, case.arms)
    yield from _placements(case, verbose=verbose)
    for arm in case.arms:
        if arm.profile:
            yield from _profile(arm, verbose=verbose)
    for note in case.notes:
        yield Text(f"note: {note}", style="yellow")


def _p99(arm: Arm) -> str:
    return interval(arm.wall.p99_ms)


def _arms(columns: Sequence[Column], arms: Sequence[Arm]) -> Table:
    table = _table(["model"], [head for head, _ in columns])
    for arm in arms:
        row = [Text(text) for text in (arm.model, *cells(columns, arm))]
        if columns[-1][0] == "verdict":
            row[-1].stylize(_STYLES.get(arm.verdict or "", ""))
        table.add_row(*row)
    return table


def _table(left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for head in left:
        table.add_column(head, overflow="fold")
    for head in right:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _placements(case: Case, *, verbose: bool) -> Iterator[Text]:
    known = [(arm, arm.placement) for arm in case.arms if arm.placement is not None]
    if len(known) == len(case.arms) and all(set(p.nodes) == {case.provider} for _, p in known):
        yield Text(f"placement: every node on {case.provider}")
        return
    for arm, placement in known:
        nodes = ", ".join(f"{count} on {name}" for name, count in placement.nodes.items())
        shares = [
            f"{'unknown share' if share is None else f'{100 * share:.2f} %'} of {what}"
            for share, what in (
                (placement.macs_elsewhere, "MACs"),
                (placement.bytes_elsewhere, "bytes"),
            )
        ]
        listed = placement.elsewhere if verbose else placement.elsewhere[:_LISTED]
        elsewhere = f"; elsewhere {' and '.join(shares)}" if placement.elsewhere else ""
        yield Text(f"placement of {arm.model}: {nodes}{elsewhere}")
        for node in listed:
            cost = f"{number(node.macs)} MACs, {number(node.bytes)} bytes"
            yield Text(f"  {node.op_type} {node.name} on {node.provider}: {cost}")
        if len(placement.elsewhere) > len(listed):
            yield Text(f"  and {len(placement.elsewhere) - len(listed)} more")


def _profile(arm: Arm, *, verbose: bool) -> Iterator[RenderableType]:
    listed = arm.profile if verbose else arm.profile[:_LISTED]
    shares = ", ".join(f"{op} {100 * share:.1f} %" for op, share in by_op(arm.profile).items())
    yield Text(f"profile of {arm.model}: {shares}")
    table = _table(["  node", "operator", "provider"], ["calls", "mean us", "share"])
    for node in listed:
        row = (f"  {node.name}", node.op_type, node.provider, number(node.calls),
               quantity(node.mean_us), f"{100 * node.share:.1f} %")  # fmt: skip
        table.add_row(*map(Text, row))
    yield table
    if len(arm.profile) > len(listed):
        yield Text(f"  and {len(arm.profile) - len(listed)} more nodes")


def by_op(profile: Sequence[NodeTime]) -> dict[str, float]:
    """Share of the time by operator, the largest first."""
    shares: dict[str, float] = {}
    for node in profile:
        shares[node.op_type] = shares.get(node.op_type, 0.0) + node.share
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _requirements(report: BenchReport) -> Iterator[Text]:
    for row in report.requirements:
        text = Text(f"requirement {row.text}, {requirement_place(row, report)}: ")
        yield text.append(outcome_words(row), style=_STYLES[row.outcome])


def _models(report: BenchReport) -> Table:
    table = _table(["model"], ["file bytes", "parameters", "nodes", "MACs", "sha256"])
    for model in report.models:
        row = (model.name, number(model.file_bytes), number(model.parameters),
               number(model.nodes), macs_words(report, model.name), model.sha256[:12])  # fmt: skip
        table.add_row(*map(Text, row))
    return table


def macs_words(report: BenchReport, model: str) -> str:
    """Multiply-accumulates of a model, at the shapes of each case where they differ."""
    found = {arm.macs for case in report.cases for arm in case.arms if arm.model == model}
    counts = sorted(count for count in found if count is not None)
    return ", ".join(map(number, counts)) or NONE

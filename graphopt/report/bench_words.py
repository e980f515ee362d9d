"""What the forms of a benchmark's report share: numbers, sentences, and the columns of tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from graphopt.report.bench import (
    Arm,
    BenchReport,
    BenchRequirement,
    Case,
    Environment,
    Interval,
    Memory,
    Startup,
)
from graphopt.report.text import number

NONE = "-"
"""In a table: not known, or not asked for."""

Column = tuple[str, Callable[[Arm], str | None]]
"""A heading, and an arm's cell; None where the arm has no such value."""

_VERDICTS = {
    "faster": "is faster than",
    "slower": "is slower than",
    "same": "is as fast as",
    "inconclusive": "may be faster or slower than",
}
_OUTCOMES = {"met": "met", "not met": "NOT MET", "inconclusive": "INCONCLUSIVE"}


def quantity(value: float, like: float | None = None) -> str:
    """A measured number with about four digits.

    Args:
        value: The number.
        like: Another one that says how many decimals; `value` itself by default.
    """
    size = abs(value if like is None else like)
    if not math.isfinite(value) or not math.isfinite(size):
        return f"{value:.4g}"
    if size and size < 0.01:
        return f"{value:.3g}"
    decimals = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
    return f"{value:,.{decimals}f}"


def interval(found: Interval | None) -> str:
    """An estimate with its bounds: `0.800 [0.784, 0.816]`; None reads "unknown"."""
    if found is None:
        return "unknown"
    value, low, high = (quantity(n, found.value) for n in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def size(count: int, what: str, many: str = "") -> str:
    """A count with its noun: `1 thread`, `2 threads`."""
    return f"{count:,} {what if count == 1 else many or what + 's'}"


def case_label(case: Case) -> str:
    """A case in a few words: provider, threads, batch, and how it was called."""
    options = ", ".join(f"{name}={value}" for name, value in case.provider_options.items())
    parts = [f"{case.provider} ({options})" if options else case.provider]
    parts.append(size(case.threads, "thread") if case.threads else "default threads")
    if case.batch is not None:
        parts.append(f"batch {case.batch}")
    if case.mode == "closed loop":
        parts.append(f"closed loop of {size(case.concurrency, 'caller')}")
    elif case.mode == "open loop":
        rate = "unknown" if case.rate is None else f"{case.rate:g}"
        parts.append(f"open loop at {rate} requests/s, {size(case.concurrency, 'caller')}")
    return ", ".join(parts)


def conditions(case: Case) -> str:
    """How a case was measured, and why it ended."""
    shapes = ", ".join(f"{n} {'x'.join(map(str, s)) or 'scalar'}" for n, s in case.shapes.items())
    blocks = f"blocks of {size(case.block, 'call')}"
    if case.dropped:
        first = "first" if case.dropped == 1 else f"first {case.dropped}"
        blocks += f", the {first} not in the ratio"
    why = "the time was over" if case.stopped == "time" else "the intervals were narrow enough"
    return (
        f"{shapes or 'no inputs'}; {blocks}; {size(case.pairs, 'pair')} in "
        f"{size(case.processes, 'process', 'processes')}; ended when {why}"
    )


def floor_line(case: Case) -> str:
    """The reference against itself on both clocks: what no difference looks like."""
    line = f"reference against itself: {interval(case.floor)}"
    return line if case.cpu_floor is None else f"{line}, CPU clock {interval(case.cpu_floor)}"


def verdict_lines(report: BenchReport) -> list[str]:
    """One line for each candidate in each case; the case is named where there are several."""
    lines = []
    for case in report.cases:
        where = f" ({case_label(case)})" if len(report.cases) > 1 else ""
        for arm in case.arms[1:]:
            lines.append(f"{verdict_words(arm, case)}{where}")
    return lines


def verdict_words(arm: Arm, case: Case) -> str:
    """`b.onnx is faster than a.onnx: 0.800 [0.784, 0.816] of its time`."""
    if arm.verdict is None:
        return f"{arm.model} was not compared with {case.reference.model}"
    words = _VERDICTS[arm.verdict]
    return f"{arm.model} {words} {case.reference.model}: {interval(arm.ratio)} of its time"


def outcome_words(row: BenchRequirement) -> str:
    """How a requirement came out: `met, 0.800 [0.784, 0.816]`."""
    measured = "not measured" if row.measured is None else interval(row.measured)
    return f"{_OUTCOMES[row.outcome]}, {measured}"


def requirement_place(row: BenchRequirement, report: BenchReport) -> str:
    """The model that a requirement is about, and the case where there are several."""
    if len(report.cases) == 1:
        return row.model
    return f"{row.model}, {case_label(report.cases[row.case])}"


def unmet_words(report: BenchReport) -> str:
    """How many requirements do not hold for sure: `of 2 requirements: 1 not met`; or nothing."""
    total = len(report.requirements)
    outcomes = [row.outcome for row in report.requirements]
    bad = [word for word in ("not met", "inconclusive") if word in outcomes]
    found = ", ".join(f"{outcomes.count(word)} {word}" for word in bad)
    return f"of {size(total, 'requirement')}: {found}" if found else ""


def environment_lines(environment: Environment) -> Iterator[str]:
    """The machine, its devices and the versions."""
    memory = environment.memory_bytes
    load = environment.load
    yield (
        f"{environment.system}; {environment.processor}, {size(environment.cores, 'core')}, "
        f"{number(memory)} bytes of memory; load {'unknown' if load is None else f'{load:.2f}'}"
    )
    for device in environment.devices:
        clock = f"{number(device.clock_mhz)} of {number(device.max_clock_mhz)} MHz"
        memory = device.memory_bytes
        yield f"{device.name}: driver {device.driver}, {number(memory)} bytes, {clock}"
    yield ", ".join(f"{name} {version}" for name, version in environment.versions.items())


def present(columns: Sequence[Column], arms: Sequence[Arm]) -> list[Column]:
    """The columns in which at least one arm has a value."""
    return [(head, cell) for head, cell in columns if any(cell(arm) is not None for arm in arms)]


def cells(columns: Sequence[Column], arm: Arm) -> list[str]:
    """An arm's row, a dash where it has no value."""
    return [NONE if (text := cell(arm)) is None else text for _, cell in columns]


def _measured(get: Callable[[Arm], float | None]) -> Callable[[Arm], str | None]:
    return lambda arm: None if (value := get(arm)) is None else quantity(value)


def _counted(get: Callable[[Arm], int | None]) -> Callable[[Arm], str | None]:
    return lambda arm: None if (value := get(arm)) is None else number(value)


def _share(get: Callable[[Arm], float | None]) -> Callable[[Arm], str | None]:
    return lambda arm: None if (value := get(arm)) is None else f"{100 * value:.1f} %"


def _between(get: Callable[[Arm], Interval | None]) -> Callable[[Arm], str | None]:
    return lambda arm: None if (found := get(arm)) is None else interval(found)


def _cold(get: Callable[[Startup], float]) -> Callable[[Arm], str | None]:
    return lambda arm: None if arm.startup is None else quantity(get(arm.startup))


def _memory(get: Callable[[Memory], int | None]) -> Callable[[Arm], str | None]:
    return _counted(lambda arm: None if arm.memory is None else get(arm.memory))


TIMES: tuple[Column, ...] = (
    ("p50 ms", _measured(lambda arm: arm.wall.p50_ms)),
    ("p90 ms", _measured(lambda arm: arm.wall.p90_ms)),
    ("p99 ms", _measured(lambda arm: arm.wall.p99_ms.value)),
    ("mean ms", _measured(lambda arm: arm.wall.mean_ms)),
    ("rows/s", _measured(lambda arm: arm.throughput)),
    ("GFLOP/s", _measured(lambda arm: arm.gflops)),
    ("outliers", _counted(lambda arm: arm.wall.outliers)),
)
"""Times on the wall clock."""

RATIOS: tuple[Column, ...] = (
    ("CPU ratio", _between(lambda arm: arm.cpu_ratio)),
    ("SNR dB", lambda arm: None if arm.snr_db is None else f"{arm.snr_db:.1f}"),
    ("ratio", _between(lambda arm: arm.ratio)),
    ("verdict", lambda arm: arm.verdict),
)
"""Against the reference; the verdict is on the last ratio."""

STARTS: tuple[Column, ...] = (
    ("session ms", _measured(lambda arm: arm.session_ms)),
    ("first run ms", _measured(lambda arm: arm.first_run_ms)),
    ("cold session ms", _cold(lambda startup: startup.session_ms)),
    ("cold first run ms", _cold(lambda startup: startup.first_run_ms)),
    ("processes", _counted(lambda arm: None if arm.startup is None else arm.startup.processes)),
    ("copies ms", _measured(lambda arm: arm.copy_ms)),
    ("busy", _share(lambda arm: arm.server_busy)),
    ("lost", _counted(lambda arm: arm.lost)),
)
"""What comes before the first answer, and what lies around the runs."""

MEMORY: tuple[Column, ...] = (
    ("load peak bytes", _memory(lambda memory: memory.load_peak_bytes)),
    ("run peak bytes", _memory(lambda memory: memory.run_peak_bytes)),
    ("arena bytes", _memory(lambda memory: memory.arena_bytes)),
    ("device peak bytes", _memory(lambda memory: memory.device_peak_bytes)),
)
"""Memory of a fresh process."""

"""What tuning found, as data: the document that `graphopt tune --json` prints.

A ratio is candidate / default: below 1 is better. None means unknown.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from graphopt.report.bench import BenchModel
from graphopt.report.bench_figures import Environment, Interval

TUNE_SCHEMA_VERSION = 1
"""Raised when a field changes its type or meaning, or goes away; fields may be added meanwhile."""

Objective = Literal["latency", "throughput", "memory"]


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """One way to run a session.

    Attributes:
        threads: Threads inside one operator; 0 is ONNX Runtime's default.
        spinning: Idle threads wait for work at full speed.
        level: ONNX Runtime's own graph optimisations.
        memory_pattern: Plan all tensors in one block where shapes allow it.
        arena: Keep freed memory for later.
        prepacking: Rearrange weights for the kernels when loading.
        config: Further session entries by key.
        binding: Inputs and outputs are bound once, outside the calls.
        batch: Size of the open batch dimension; None leaves the data's own, or 1.
        concurrency: Callers at once.
    """

    threads: int
    spinning: bool
    level: Literal["off", "basic", "extended", "all"]
    memory_pattern: bool
    arena: bool
    prepacking: bool
    config: dict[str, str]
    binding: bool
    batch: int | None
    concurrency: int


@dataclass(frozen=True, slots=True)
class TuneCandidate:
    """A candidate that was measured.

    Attributes:
        name: What differs from ONNX Runtime's defaults, in words.
        settings: All of it.
        rung: The last rung that it was measured in, from 1 on; the default is in every one.
        ratio: The median in that rung, against the default. The smallest of several such medians
            looks better than it is; only the report's own `ratio` is free of that.
    """

    name: str
    settings: TuneSettings
    rung: int
    ratio: float


@dataclass(frozen=True, slots=True)
class TuneDropped:
    """A candidate that was left out.

    Attributes:
        name: What differs from ONNX Runtime's defaults, in words.
        reason: Why.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class TuneFinal:
    """The best candidate of the rungs against the default, in processes that chose nothing.

    Attributes:
        name: The candidate.
        ratio: Against the default: time of a call, time of a row, or bytes (no interval).
        latency_ratio: With the objective memory: time of a call, which may not be much longer.
        pairs: Pairs of blocks.
        processes: Fresh pairs of processes that they come from.
    """

    name: str
    ratio: Interval
    latency_ratio: Interval | None
    pairs: int
    processes: int


@dataclass(frozen=True, slots=True)
class TuneReport:
    """One run of `graphopt tune`.

    Attributes:
        schema: TUNE_SCHEMA_VERSION.
        started: Date and time in UTC, ISO 8601.
        seconds: How long the whole of it took.
        limit_seconds: How long it was to take.
        seed: Seed of everything random.
        objective: Time of one call, time of one row of the batch, or peak bytes.
        model: What was run.
        provider: The execution provider, by ONNX Runtime's name.
        provider_options: Its options.
        shapes: Shapes of the default's inputs, by name.
        default: ONNX Runtime's defaults.
        best: What is proposed; the default when nothing was shown to be better.
        best_name: What differs from the default in it, in words.
        ratio: Of the best against the default; exactly 1 when that is the default.
        final: How the best candidate of the rungs did; None when there was none.
        candidates: What was measured, the best first; the default among them.
        dropped: What was left out, and why.
        notes: What a reader should know, one line each.
        environment: Where.
        snippet: Python that makes the proposed session.
    """

    schema: int
    started: str
    seconds: float
    limit_seconds: float
    seed: int
    objective: Objective
    model: BenchModel
    provider: str
    provider_options: dict[str, str]
    shapes: dict[str, list[int]]
    default: TuneSettings
    best: TuneSettings
    best_name: str
    ratio: Interval
    final: TuneFinal | None
    candidates: list[TuneCandidate]
    dropped: list[TuneDropped]
    notes: list[str]
    environment: Environment
    snippet: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)

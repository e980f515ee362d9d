"""What a benchmark measured, as data: the document that `graphopt bench --json` prints.

Times are in milliseconds, sizes in bytes. A ratio is candidate / reference: below 1 is faster.
None means unknown or not asked for.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from graphopt.report.bench_figures import (
    Device,
    Environment,
    Interval,
    Memory,
    NodeTime,
    PlacedNode,
    Placement,
    Startup,
    Timing,
)

__all__ = [
    "BENCH_SCHEMA_VERSION",
    "Arm",
    "BenchModel",
    "BenchReport",
    "BenchRequirement",
    "Case",
    "Device",
    "Environment",
    "Interval",
    "Memory",
    "Met",
    "Mode",
    "NodeTime",
    "PlacedNode",
    "Placement",
    "Startup",
    "Timing",
    "Verdict",
]

BENCH_SCHEMA_VERSION = 1
"""Raised when a field changes its type or meaning, or goes away; fields may be added meanwhile."""

Verdict = Literal["faster", "slower", "same", "inconclusive"]
Mode = Literal["alternating", "closed loop", "open loop"]
Met = Literal["met", "not met", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One model in one case.

    Attributes:
        model: Its name in the report's `models`.
        wall: Times on the wall clock; in an open loop from the scheduled arrival on.
        cpu: Processor time of all threads; None where it means nothing (spinning threads, a GPU).
        throughput: Rows of the batch per second.
        gflops: Achieved billions of floating-point operations (two a multiply-accumulate) a second.
        macs: Multiply-accumulates of one run at the case's shapes.
        first_run_ms: The first run after loading, as it came.
        session_ms: Creating the session, as it came.
        copy_ms: Copying inputs to the device and outputs back, when bound to it.
        ratio: Wall time against the reference; None for the reference itself.
        cpu_ratio: Processor time against the reference.
        verdict: On the wall clock; None for the reference.
        snr_db: How far its outputs are from the reference's on the same inputs, in dB.
        startup: With --cold.
        memory: With --memory.
        placement: Which provider ran what; None when it could not be told.
        profile: With --profile: the nodes, the longest first.
        server_busy: Share of the time in which callers of an open loop were running.
        lost: Requests of an open loop that were never answered.
    """

    model: str
    wall: Timing
    cpu: Timing | None
    throughput: float
    gflops: float | None = None
    macs: int | None = None
    first_run_ms: float | None = None
    session_ms: float | None = None
    copy_ms: float | None = None
    ratio: Interval | None = None
    cpu_ratio: Interval | None = None
    verdict: Verdict | None = None
    snr_db: float | None = None
    startup: Startup | None = None
    memory: Memory | None = None
    placement: Placement | None = None
    profile: list[NodeTime] = field(default_factory=list)
    server_busy: float | None = None
    lost: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """Every model under the same conditions, one after the other in random order.

    Attributes:
        provider: The execution provider, by ONNX Runtime's name.
        provider_options: Its options.
        threads: Threads inside one operator; 0 is ONNX Runtime's default.
        batch: Rows of each input; None when the inputs say nothing of a batch.
        shapes: Shapes of the inputs, by name.
        mode: One call after the other, or callers at once.
        concurrency: Callers at once.
        rate: Requests a second of an open loop.
        block: Calls of one model before the next has its turn.
        dropped: The first so many calls of a block are not used for the ratio.
        pairs: Pairs of blocks.
        processes: Fresh processes that they come from.
        floor: The reference against itself, as wall-time ratio: what no difference looks like here.
        cpu_floor: The same on the processor's clock.
        stopped: Why it ended: the intervals were narrow enough, or the time was over.
        arms: One per model, the reference first.
        notes: What a reader should know, one line each.
    """

    provider: str
    provider_options: dict[str, str]
    threads: int
    batch: int | None
    shapes: dict[str, list[int]]
    mode: Mode
    concurrency: int
    rate: float | None
    block: int
    dropped: int
    pairs: int
    processes: int
    floor: Interval | None
    cpu_floor: Interval | None
    stopped: Literal["interval", "time"]
    arms: list[Arm]
    notes: list[str] = field(default_factory=list)

    @property
    def reference(self) -> Arm:
        """The arm that the others are compared with."""
        return self.arms[0]


@dataclass(frozen=True, slots=True)
class BenchModel:
    """A model that was timed.

    Attributes:
        name: Short and unique in the report: the file's name, or as much of its path as it takes.
        path: The file as it was given.
        sha256: Digest of the file, external data not included.
        file_bytes: Bytes on disk, external data included.
        parameters: Elements of floating-point constants.
        nodes: Nodes, bodies and functions included.
    """

    name: str
    path: str
    sha256: str
    file_bytes: int
    parameters: int
    nodes: int


@dataclass(frozen=True, slots=True)
class BenchRequirement:
    """A requirement and how it turned out for one model in one case.

    Attributes:
        text: The condition.
        metric: What it is about.
        model: The model.
        case: Index in the report's `cases`.
        measured: The estimate and its interval; None when it was not measured.
        outcome: `met` when the interval's worse bound meets it, `not met` when the better one does
            not either, else `inconclusive`.
    """

    text: str
    metric: str
    model: str
    case: int
    measured: Interval | None
    outcome: Met


@dataclass(frozen=True, slots=True)
class BenchReport:
    """One run of `graphopt bench`.

    Attributes:
        schema: BENCH_SCHEMA_VERSION.
        started: Date and time in UTC, ISO 8601.
        seconds: How long the whole of it took.
        seed: Seed of everything random.
        reference: Name of the model that the others are compared with.
        models: What was timed.
        cases: Every combination of provider, threads and batch.
        requirements: One row per requirement, case and model.
        environment: Where.
        session: Session settings that differ from ONNX Runtime's own.
    """

    schema: int
    started: str
    seconds: float
    seed: int
    reference: str
    models: list[BenchModel]
    cases: list[Case]
    requirements: list[BenchRequirement]
    environment: Environment
    session: dict[str, str]

    @property
    def outcome(self) -> Met:
        """The worst of all requirements; `met` when there is none."""
        outcomes = {row.outcome for row in self.requirements}
        worst_first: tuple[Met, ...] = ("not met", "inconclusive")
        return next((outcome for outcome in worst_first if outcome in outcomes), "met")

    def model(self, name: str) -> BenchModel:
        """The model of that name."""
        return next(model for model in self.models if model.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)

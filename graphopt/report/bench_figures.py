"""The figures that a benchmark consists of: intervals, times, memory, placement, the machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval.

    Attributes:
        value: The estimate.
        low: The interval's lower bound.
        high: The interval's upper bound.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Timing:
    """How long single calls took on one clock, in milliseconds; no call is left out.

    Attributes:
        calls: How many calls were timed.
        mean_ms: Their mean.
        p50_ms: Their median.
        p90_ms: 90 % took at most this.
        p99_ms: 99 % took at most this, with its interval.
        min_ms: The shortest.
        max_ms: The longest.
        outliers: Calls beyond three interquartile ranges above the third quartile; they count.
        sample_ms: Up to 1,000 of them, evenly picked in the order of their length, for plots.
    """

    calls: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: Interval
    min_ms: float
    max_ms: float
    outliers: int
    sample_ms: list[float]


@dataclass(frozen=True, slots=True)
class Startup:
    """What comes before the first answer, each in a fresh process: medians in milliseconds.

    Attributes:
        processes: How many processes.
        session_ms: Creating the session.
        first_run_ms: The first run of it.
    """

    processes: int
    session_ms: float
    first_run_ms: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory in bytes, of a fresh process that does nothing else.

    Attributes:
        load_peak_bytes: Highest resident size while the session was created, above what the
            process took before.
        run_peak_bytes: Highest resident size over load and runs, above the same.
        arena_bytes: What the session's arena holds after the runs.
        device_peak_bytes: Highest use of device memory, above what it was before.
    """

    load_peak_bytes: int | None
    run_peak_bytes: int | None
    arena_bytes: int | None = None
    device_peak_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class NodeTime:
    """The time of one node of the optimised graph.

    Attributes:
        name: As ONNX Runtime calls it after its own optimisations.
        op_type: Its operator.
        provider: The execution provider that ran it.
        calls: How often it ran.
        mean_us: Mean time of one call, in microseconds.
        share: Of the time of all nodes.
    """

    name: str
    op_type: str
    provider: str
    calls: int
    mean_us: float
    share: float


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """A node that ran elsewhere than on the provider asked for.

    Attributes:
        name: As ONNX Runtime calls it.
        op_type: Its operator.
        provider: Where it ran.
        macs: Its multiply-accumulates.
        bytes: What it reads and writes.
    """

    name: str
    op_type: str
    provider: str
    macs: int | None
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Placement:
    """Which provider ran what.

    Attributes:
        nodes: Nodes by execution provider.
        macs_elsewhere: Share of the multiply-accumulates off the provider that was asked for.
        bytes_elsewhere: Share of the bytes read and written there.
        elsewhere: Those nodes, the heaviest first.
    """

    nodes: dict[str, int]
    macs_elsewhere: float | None
    bytes_elsewhere: float | None
    elsewhere: list[PlacedNode]


@dataclass(frozen=True, slots=True)
class Device:
    """An accelerator, as its driver describes it.

    Attributes:
        name: Product name.
        driver: Driver version.
        memory_bytes: Its memory.
        clock_mhz: Clock of its processors when the benchmark ended.
        max_clock_mhz: The highest they can have.
    """

    name: str
    driver: str
    memory_bytes: int | None
    clock_mhz: int | None
    max_clock_mhz: int | None


@dataclass(frozen=True, slots=True)
class Environment:
    """Where it was measured.

    Attributes:
        system: Operating system and release.
        processor: The CPU's name.
        cores: CPUs that this process may use.
        memory_bytes: Physical memory.
        load: Load average of the last minute when the benchmark began.
        versions: graphopt, onnxruntime, numpy, python.
        devices: Accelerators.
    """

    system: str
    processor: str
    cores: int
    memory_bytes: int | None
    load: float | None
    versions: dict[str, str]
    devices: list[Device]

    @property
    def machine(self) -> str:
        """What has to be equal for figures of two runs to be comparable at all."""
        return ", ".join([self.processor, f"{self.cores} cores", *(d.name for d in self.devices)])

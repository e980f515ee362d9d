"""Reports of a benchmark with something in every field, for tests."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from graphopt.report.bench import (
    BENCH_SCHEMA_VERSION,
    Arm,
    BenchModel,
    BenchReport,
    BenchRequirement,
    Case,
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

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


def sample_timing(p50: float = 10.0, **changes: Any) -> Timing:
    """Times around a median, in milliseconds, with a long tail."""
    sample = [p50 * (0.9 + 0.004 * i) for i in range(49)] + [p50 * 1.5]
    base = Timing(
        calls=1200, mean_ms=p50 * 1.02, p50_ms=p50, p90_ms=p50 * 1.1,
        p99_ms=Interval(p50 * 1.3, p50 * 1.2, p50 * 1.45), min_ms=p50 * 0.9, max_ms=p50 * 1.5,
        outliers=3, sample_ms=sample,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def sample_arm(model: str = "net.onnx", p50: float = 10.0, **changes: Any) -> Arm:
    """The reference, with every measurement that an arm can have but for an open loop's."""
    base = Arm(
        model=model, wall=sample_timing(p50), cpu=sample_timing(1.9 * p50), throughput=4000.0 / p50,
        gflops=81.6 / p50, macs=40_800_000, first_run_ms=1.7 * p50, session_ms=42.5, copy_ms=None,
        startup=Startup(5, 43.25, 1.6 * p50),
        memory=Memory(12_000_000, 20_500_000, 8_388_608, None),
        placement=Placement({CPU: 21}, 0.0, 0.0, []),
        profile=[
            NodeTime("conv1", "Conv", CPU, 600, 4100.0, 0.625),
            NodeTime("conv2", "Conv", CPU, 600, 2000.0, 0.3),
            NodeTime("relu1", "Relu", CPU, 600, 500.0, 0.075),
        ],
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def sample_candidate(model: str, ratio: float, verdict: str, /, **changes: Any) -> Arm:
    """A model whose time is `ratio` of the reference's 10 ms, the interval 2 % to either side."""
    interval = Interval(ratio, ratio * 0.98, ratio * 1.02)
    cpu = Interval(ratio * 1.01, ratio * 0.99, ratio * 1.03)
    base = sample_arm(
        model, 10 * ratio, ratio=interval, cpu_ratio=cpu, verdict=verdict, snr_db=math.inf
    )
    return dataclasses.replace(base, **changes)


def sample_case(**changes: Any) -> Case:
    """One call after the other on the CPU: net.onnx, a faster one, and one that is the same."""
    base = Case(
        provider=CPU, provider_options={}, threads=2, batch=4, shapes={"x": [4, 3, 32, 32]},
        mode="alternating", concurrency=1, rate=None, block=8, dropped=1, pairs=150, processes=3,
        floor=Interval(1.002, 0.996, 1.008), cpu_floor=Interval(1.0, 0.998, 1.002),
        stopped="interval",
        arms=[
            sample_arm(),
            sample_candidate("smaller/net.onnx", 0.8, "faster"),
            sample_candidate("same.onnx", 1.0, "same", snr_db=41.5, gflops=None, macs=None),
        ],
        notes=["the load of the machine was 1.5 when it began"],
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def sample_cuda_case(**changes: Any) -> Case:
    """An open loop on CUDA, where nodes of one model ran on the CPU, and little is known."""
    elsewhere = [
        PlacedNode("shape7", "Shape", CPU, None, 64),
        PlacedNode("gather8", "Gather", CPU, 0, 128),
    ]
    bare: dict[str, Any] = {
        "cpu": None, "gflops": None, "copy_ms": 0.25, "startup": None, "profile": [],
        "server_busy": 0.8, "lost": 0, "placement": Placement({CUDA: 19}, 0.0, 0.0, []),
        "memory": Memory(None, None, None, 700_000_000),
    }  # fmt: skip
    placement = Placement({CUDA: 19, CPU: 2}, 0.0, 0.0005, elsewhere)
    base = sample_case(
        provider=CUDA, provider_options={"device_id": "0"}, threads=0, batch=None,
        mode="open loop", concurrency=4, rate=80.0, block=1, dropped=0, processes=1,
        cpu_floor=None, stopped="time", notes=[],
        arms=[
            sample_arm(**bare),
            sample_candidate("smaller/net.onnx", 1.25, "slower", cpu_ratio=None, **bare),
            sample_candidate(
                "same.onnx", 1.01, "inconclusive",
                **bare | {"cpu_ratio": None, "memory": None, "placement": placement},
            ),
        ],
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def sample_environment(**changes: Any) -> Environment:
    base = Environment(
        system="Linux 6.1", processor="Some CPU 9000", cores=2, memory_bytes=8_000_000_000,
        load=1.5, versions={"graphopt": "0.1.0", "onnxruntime": "1.24.1", "numpy": "2.1.0",
                            "python": "3.11.9"},
        devices=[Device("Some GPU", "550.1", 80_000_000_000, 1700, 1980)],
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def sample_report(**changes: Any) -> BenchReport:
    """Two cases of three models, one requirement met, one not met and one inconclusive."""
    fast, same = "smaller/net.onnx", "same.onnx"
    base = BenchReport(
        schema=BENCH_SCHEMA_VERSION, started="2026-01-02T03:04:05Z", seconds=61.5, seed=7,
        reference="net.onnx",
        models=[
            BenchModel("net.onnx", "models/net.onnx", "aa" * 32, 1_100_000, 270_000, 24),
            BenchModel(fast, "smaller/net.onnx", "bb" * 32, 600_000, 270_000, 21),
            BenchModel(same, "same.onnx", "cc" * 32, 1_000_000, 270_000, 22),
        ],
        cases=[sample_case(), sample_cuda_case()],
        requirements=[
            BenchRequirement("latency_ratio <= 0.9", "latency_ratio", fast, 0,
                             Interval(0.8, 0.784, 0.816), "met"),
            BenchRequirement("latency_ratio <= 0.9", "latency_ratio", fast, 1,
                             Interval(1.25, 1.225, 1.275), "not met"),
            BenchRequirement("latency_ratio <= 1.01", "latency_ratio", same, 1,
                             Interval(1.01, 0.9898, 1.0302), "inconclusive"),
            BenchRequirement("p99_ms <= 15", "p99_ms", same, 0, None, "inconclusive"),
        ],
        environment=sample_environment(), session={"session.intra_op.allow_spinning": "0"},
    )  # fmt: skip
    return dataclasses.replace(base, **changes)

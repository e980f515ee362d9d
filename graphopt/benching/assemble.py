"""From what was measured to what is said: ratios, verdicts, times, requirements."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphopt.benching.options import BenchOptions
from graphopt.benching.runner import CaseInput, Samples
from graphopt.benching.statistics import MIN_PAIRS, interval, outcome, timing, verdict
from graphopt.report.bench import Arm, BenchRequirement, Case, Interval
from graphopt.report.requirement import Requirement
from graphopt.runtime.settings import CPU
from graphopt.verify.loss import LossUndefined, measure_loss


def assemble_case(
    case: CaseInput,
    samples: Samples,
    names: Sequence[str],
    macs: Sequence[int | None],
    batch: int | None,
    options: BenchOptions,
) -> Case:
    """Put a case into words and figures.

    Args:
        case: What was timed.
        samples: What was measured.
        names: The models' names, the reference first.
        macs: Their multiply-accumulates on these inputs.
        batch: Rows of the inputs.
        options: How it was measured.
    """
    twin = len(case.paths)
    has_cpu = _has_processor_clock(case) and samples.has_processor_time
    floor = interval(samples.log_ratios(twin), options.seed)
    cpu_floor = interval(samples.log_ratios(twin, "cpu"), options.seed) if has_cpu else None
    arms = [
        _arm(samples, index, name, macs[index], batch, floor, options, has_cpu=has_cpu)
        for index, name in enumerate(names)
    ]
    provider = case.settings.provider
    return Case(
        provider=provider.name,
        provider_options=dict(provider.options),
        threads=case.settings.threads,
        batch=batch,
        shapes=shapes_of(case.feeds[0]),
        mode=samples.load.mode,
        concurrency=samples.load.concurrency,
        rate=samples.load.rate,
        block=samples.load.block,
        dropped=samples.dropped,
        pairs=samples.pairs,
        processes=len(samples.rounds),
        floor=floor,
        cpu_floor=cpu_floor,
        stopped=samples.stopped,
        arms=arms,
        notes=_notes(samples, floor),
    )


def decide(requirements: Sequence[Requirement], cases: Sequence[Case]) -> list[BenchRequirement]:
    """Hold requirements against every model that is under test, in every case.

    Args:
        requirements: Conditions on what a benchmark measures.
        cases: The cases. The reference is under test only where it is alone, or where a metric
            needs no reference and no other model is there.
    """
    return [
        BenchRequirement(
            requirement.text, requirement.metric, arm.model, number, measured,
            outcome(requirement, measured),
        )
        for requirement in requirements
        for number, case in enumerate(cases)
        for arm in case.arms[1:] or case.arms
        for measured in [_MEASURED[requirement.metric](arm, case)]
    ]  # fmt: skip


def shapes_of(feeds: Mapping[str, Any]) -> dict[str, list[int]]:
    """Shapes by input name; sequences have none."""
    return {name: list(value.shape) for name, value in feeds.items() if hasattr(value, "shape")}


def _ratio(arm: Arm, case: Case) -> Interval | None:
    # Too few pairs have an interval that nothing may be decided from.
    if arm.ratio is None or case.pairs >= MIN_PAIRS:
        return arm.ratio
    return Interval(arm.ratio.value, 0.0, math.inf)


def _p99(arm: Arm, case: Case) -> Interval | None:
    return arm.wall.p99_ms


_MEASURED: dict[str, Callable[[Arm, Case], Interval | None]] = {
    "latency_ratio": _ratio,
    "p99_ms": _p99,
}


def _arm(
    samples: Samples,
    index: int,
    name: str,
    macs: int | None,
    batch: int | None,
    floor: Interval,
    options: BenchOptions,
    *,
    has_cpu: bool,
) -> Arm:
    seed = options.seed
    wall = timing(samples.calls(index), seed)
    ratio = interval(samples.log_ratios(index), seed) if index else None
    cpu_ratio = interval(samples.log_ratios(index, "cpu"), seed) if index and has_cpu else None
    loaded = samples.loaded[index]
    per_second = _per_second(samples, index)
    in_load = samples.load.mode == "open loop"
    return Arm(
        model=name,
        wall=wall,
        cpu=timing(samples.calls(index, "cpu"), seed) if has_cpu else None,
        throughput=per_second * (batch or 1),
        gflops=None if macs is None else 2e-9 * macs * per_second,
        macs=macs,
        first_run_ms=1e3 * loaded.first_run_seconds,
        session_ms=1e3 * loaded.session_seconds,
        copy_ms=None if loaded.copy_seconds is None else 1e3 * loaded.copy_seconds,
        ratio=ratio,
        cpu_ratio=cpu_ratio,
        verdict=None if ratio is None else verdict(ratio, floor, samples.pairs),
        snr_db=_snr(samples, index) if index else None,
        server_busy=float(np.mean([r.busy[:, index].mean() for r in samples.rounds]))
        if in_load
        else None,
        lost=sum(part.lost for part in samples.rounds) if in_load else None,
    )


def _per_second(samples: Samples, index: int) -> float:
    """Runs a second: what callers back to back achieve, or what an open loop was asked for."""
    if samples.load.rate is not None:
        return samples.load.rate
    seconds = float(np.mean(np.concatenate(samples.calls(index))))
    return samples.load.concurrency / seconds


def _snr(samples: Samples, index: int) -> float | None:
    """How far a model's answers are from the reference's; None where no ratio tells."""
    try:
        loss = measure_loss("all", [samples.answers[0]], [samples.answers[index]])
    except LossUndefined:
        return None
    # Labels and indices carry no noise, but can differ.
    differs = loss.max_rel > 0 or loss.top1_agreement not in (None, 1.0)
    return None if loss.snr_db == math.inf and differs else loss.snr_db


def _has_processor_clock(case: CaseInput) -> bool:
    """Whether processor time says anything: not of a GPU, nor of threads that spin."""
    return case.settings.provider.name == CPU and not case.settings.spins


def _notes(samples: Samples, floor: Interval) -> list[str]:
    notes = []
    if samples.pairs < MIN_PAIRS:
        notes.append(
            f"{samples.pairs} pairs decide nothing, {MIN_PAIRS} are needed: raise --seconds"
        )
    if not floor.low <= 1 <= floor.high:
        notes.append(
            "the reference against itself is not 1 within its interval: something on this machine "
            "favours one of two equal models; a verdict asks for more than that"
        )
    return notes

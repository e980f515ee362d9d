"""Two benchmarks against the same reference model, compared: did the candidate get slower?

Each report carries its model's ratio to the reference, measured side by side in its own run. So
what a machine was busy with on either day drops out, which it does not from times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from graphopt.errors import UsageError
from graphopt.report.bench import Arm, BenchReport, Case, Interval, Mode
from graphopt.report.bench_words import case_label

GATE_SCHEMA_VERSION = 1
"""Raised when a field changes its type or meaning, or goes away; fields may be added meanwhile."""

GateOutcome = Literal["ok", "regression", "inconclusive"]

_WORST_FIRST: tuple[GateOutcome, ...] = ("regression", "inconclusive")


@dataclass(frozen=True, slots=True)
class GateRow:
    """One model in one case of both reports.

    Attributes:
        case: The case in words.
        provider: The execution provider, by ONNX Runtime's name.
        threads: Threads inside one operator; 0 is ONNX Runtime's default.
        batch: Rows of each input; None when the inputs say nothing of a batch.
        shapes: Shapes of the inputs, by name.
        mode: One call after the other, or callers at once.
        concurrency: Callers at once.
        rate: Requests a second of an open loop.
        baseline_model: The model's name in the baseline.
        candidate_model: The model's name in the candidate.
        baseline: Its time / the reference's, in the baseline.
        candidate: Its time / the reference's, in the candidate.
        quotient: candidate / baseline: above 1 it got slower. None when a ratio is unknown.
        outcome: `regression` when the quotient's interval lies above 1 + tolerance, `ok` when it
            lies at most there, else `inconclusive`.
    """

    case: str
    provider: str
    threads: int
    batch: int | None
    shapes: dict[str, list[int]]
    mode: Mode
    concurrency: int
    rate: float | None
    baseline_model: str
    candidate_model: str
    baseline: Interval | None
    candidate: Interval | None
    quotient: Interval | None
    outcome: GateOutcome


@dataclass(frozen=True, slots=True)
class GateReport:
    """What `graphopt gate` found.

    Attributes:
        schema: GATE_SCHEMA_VERSION.
        outcome: The worst of all rows: a regression, then what is inconclusive.
        tolerance: How much slower is still no regression: 0.02 is 2 %.
        reference: The reference model's name in the baseline.
        reference_sha256: Its digest, the same in both.
        baseline_started: When the baseline was measured.
        candidate_started: When the candidate was.
        rows: One per model and case that both have.
        differences: What should have been equal in both and was not, when that was forced.
        notes: Cases and models that only one of them has, one line each.
    """

    schema: int
    outcome: GateOutcome
    tolerance: float
    reference: str
    reference_sha256: str
    baseline_started: str
    candidate_started: str
    rows: list[GateRow]
    differences: list[str]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)


def compare_reports(
    baseline: BenchReport, candidate: BenchReport, *, tolerance: float = 0.02, force: bool = False
) -> GateReport:
    """Compare the models under test of two reports, case by case.

    A report's models under test are those besides its reference. One in each is a pair whatever
    the names; of several, those with equal names are.

    Args:
        baseline: What was measured before.
        candidate: What is to be judged.
        tolerance: How much slower is still no regression, as a share.
        force: Compare what was measured on another machine, with another onnxruntime, or under
            other settings.

    Raises:
        UsageError: Another reference model; something else differs and `force` is not given; no
            case or no model that both have; a tolerance below 0.
    """
    if not 0 <= tolerance < math.inf:
        raise UsageError(f"tolerance {tolerance:g} is not a number from 0 on")
    digest = baseline.model(baseline.reference).sha256
    if candidate.model(candidate.reference).sha256 != digest:
        raise UsageError(
            "the two reports have different reference models: "
            f"{_named(baseline)} and {_named(candidate)}",
            hint="measure both against the same file: graphopt bench --reference FILE",
        )
    notes: list[str] = []
    cases = _common_cases(baseline.cases, candidate.cases, notes)
    models = _common_models(baseline, candidate, notes)
    differences = list(_differences(baseline, candidate, cases))
    if differences and not force:
        raise UsageError(
            f"the reports cannot be compared: {'; '.join(differences)}",
            hint="--force compares them all the same",
        )
    rows = [
        _row(old, new, names, tolerance) for old, new in cases for names in models
        if _has(old, names[0]) and _has(new, names[1])
    ]  # fmt: skip
    if not rows:
        raise UsageError("the two reports have no model in a common case")
    found = {row.outcome for row in rows}
    return GateReport(
        GATE_SCHEMA_VERSION, next((o for o in _WORST_FIRST if o in found), "ok"), tolerance,
        baseline.reference, digest, baseline.started, candidate.started, rows, differences, notes,
    )  # fmt: skip


def quotient(candidate: Interval | None, baseline: Interval | None) -> Interval | None:
    """How much slower: candidate / baseline of two independent ratios, with its interval.

    On the logarithms it is a difference; the distances of the two bounds that push it the same
    way add up as the root of the sum of their squares (the method of variance estimates recovery).

    Returns:
        None when one is unknown, or is no positive, finite ratio within its bounds.
    """
    if candidate is None or baseline is None or not (_sound(candidate) and _sound(baseline)):
        return None
    c, low_c, high_c = map(math.log, (candidate.value, candidate.low, candidate.high))
    b, low_b, high_b = map(math.log, (baseline.value, baseline.low, baseline.high))
    down, up = math.hypot(c - low_c, high_b - b), math.hypot(high_c - c, b - low_b)
    return Interval(_exp(c - b), _exp(c - b - down), _exp(c - b + up))


def judge(found: Interval | None, tolerance: float) -> GateOutcome:
    """A regression when all of the interval is above 1 + tolerance, ok when none of it is."""
    if found is None or (found.low <= 1 + tolerance < found.high):
        return "inconclusive"
    return "regression" if found.low > 1 + tolerance else "ok"


def _sound(ratio: Interval) -> bool:
    return 0 < ratio.low <= ratio.value <= ratio.high < math.inf


def _exp(power: float) -> float:
    try:
        return math.exp(power)
    except OverflowError:
        return math.inf


def _row(old: Case, new: Case, names: tuple[str, str], tolerance: float) -> GateRow:
    before, after = (_arm(case, name).ratio for case, name in zip((old, new), names, strict=True))
    found = quotient(after, before)
    return GateRow(
        case_label(new), new.provider, new.threads, new.batch, new.shapes, new.mode,
        new.concurrency, new.rate, *names, before, after, found, judge(found, tolerance),
    )  # fmt: skip


def _has(case: Case, model: str) -> bool:
    return any(arm.model == model for arm in case.arms)


def _arm(case: Case, model: str) -> Arm:
    return next(arm for arm in case.arms if arm.model == model)


def _named(report: BenchReport) -> str:
    return f"{report.reference} ({report.model(report.reference).sha256[:12]})"


def _key(case: Case) -> tuple[object, ...]:
    shapes = tuple(sorted((name, tuple(shape)) for name, shape in case.shapes.items()))
    return (
        case.provider, case.threads, case.batch, shapes, case.mode, case.concurrency, case.rate
    )  # fmt: skip


def _common_cases(
    baseline: Sequence[Case], candidate: Sequence[Case], notes: list[str]
) -> list[tuple[Case, Case]]:
    """Pairs under the same conditions; of several that differ in options, those with the same."""
    left = list(candidate)
    found: dict[int, Case] = {}
    for same_options in (True, False):
        for index, old in enumerate(baseline):
            fitting = [
                new for new in left if _key(new) == _key(old)
                and (new.provider_options == old.provider_options or not same_options)
            ]  # fmt: skip
            if fitting and index not in found:
                found[index] = fitting[0]
                left.remove(fitting[0])
    pairs = [
        (baseline[index], new) for index, new in sorted(found.items(), key=lambda item: item[0])
    ]
    alone = [case for index, case in enumerate(baseline) if index not in found]
    notes += [f"only in the baseline: {case_label(case)}" for case in alone]
    notes += [f"only in the candidate: {case_label(case)}" for case in left]
    if not pairs:
        raise UsageError(
            "the two reports have no case in common",
            hint="a case is a provider, threads, batch, shapes, concurrency and rate",
        )
    return pairs


def _common_models(
    baseline: BenchReport, candidate: BenchReport, notes: list[str]
) -> list[tuple[str, str]]:
    olds, news = ([model.name for model in report.models if model.name != report.reference]
                  for report in (baseline, candidate))  # fmt: skip
    for which, names in (("baseline", olds), ("candidate", news)):
        if not names:
            raise UsageError(f"the {which} has no model besides its reference")
    if len(olds) == len(news) == 1:
        return [(olds[0], news[0])]
    notes += [f"only in the baseline: {name}" for name in olds if name not in news]
    notes += [f"only in the candidate: {name}" for name in news if name not in olds]
    both = [(name, name) for name in olds if name in news]
    if not both:
        raise UsageError(
            "the two reports have no model in common",
            hint="with one model besides the reference in each, the names do not matter",
        )
    return both


def _differences(
    baseline: BenchReport, candidate: BenchReport, cases: Sequence[tuple[Case, Case]]
) -> Iterator[str]:
    """What has to be equal for the ratios to be comparable, and is not."""
    equal: tuple[tuple[str, Callable[[BenchReport], object]], ...] = (
        ("machine", lambda report: report.environment.machine),
        ("onnxruntime", lambda report: report.environment.versions.get("onnxruntime", "unknown")),
        ("session settings", lambda report: _settings(report.session)),
    )
    for what, of in equal:
        if of(baseline) != of(candidate):
            yield f"{what}: {of(baseline)} / {of(candidate)}"
    for old, new in cases:
        if old.provider_options != new.provider_options:
            options = f"{_settings(old.provider_options)} / {_settings(new.provider_options)}"
            yield f"options of {old.provider}: {options}"


def _settings(values: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(values.items())) or "none"
